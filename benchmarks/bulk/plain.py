"""The plain scripts: one process per core, each with its share of one file, no queue and no server between.

What somebody writes who needs the answers once: load, `session.run`, save. The clock runs from the barrier at which all
have their session to the end of the last one, so imports and loading the model are not in it.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bulk.data import INNER_SHAPE, INPUT
from benchmarks.bulk.onnx_session import BATCH_ROWS, open_session, run_rows
from benchmarks.peers.openai_lines import read_rows, write_answers

READY_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 600.0
READ_ROWS = 4096  # of Parquet at once: 13 MB

Script = Callable[[onnxruntime.InferenceSession, "Share"], int]


@dataclass(frozen=True, slots=True)
class Share:
    """What one of `count` scripts does of a file: the `number`th part (from 0), its answers into `out`."""

    source: Path
    out: Path
    number: int
    count: int

    def of(self, total: int) -> tuple[int, int]:
        """Return where this part of a total begins and ends."""
        return total * self.number // self.count, total * (self.number + 1) // self.count


def npy_mapped(session: onnxruntime.InferenceSession, share: Share) -> int:
    """Map the file into memory, run, save; returns the rows."""
    rows = np.load(share.source, mmap_mode="r")
    start, end = share.of(len(rows))
    np.save(share.out, run_rows(session, rows[start:end]))
    return end - start


def npy_read(session: onnxruntime.InferenceSession, share: Share) -> int:
    """The same with the share read into memory whole, as `np.load` does with a file of its own."""
    header = np.load(share.source, mmap_mode="r")
    start, end = share.of(len(header))
    width = int(np.prod(INNER_SHAPE))
    at = header.offset + start * width * header.itemsize
    rows = np.fromfile(share.source, header.dtype, (end - start) * width, offset=at).reshape(-1, *INNER_SHAPE)
    np.save(share.out, run_rows(session, rows))
    return end - start


def parquet(session: onnxruntime.InferenceSession, share: Share) -> int:
    """Read a share of the row groups with pyarrow, run, write Parquet; returns the rows."""
    file = pq.ParquetFile(share.source)
    start, end = share.of(file.num_row_groups)
    batches = file.iter_batches(
        READ_ROWS, row_groups=list(range(start, end)), columns=[INPUT], use_threads=False
    )  # fmt: skip
    rows = (batch.column(0).flatten().to_numpy().reshape(-1, *INNER_SHAPE) for batch in batches)
    answers = np.concatenate([run_rows(session, each) for each in rows])
    column = pa.FixedSizeListArray.from_arrays(pa.array(answers.reshape(-1)), answers.shape[1])
    pq.write_table(pa.table({"probabilities": column}), share.out)
    return len(answers)


def jsonl(session: onnxruntime.InferenceSession, share: Share) -> int:
    """Parse the lines that begin in a share of the bytes with orjson, run, write lines; returns the rows."""
    start, end = share.of(share.source.stat().st_size)
    n_rows = 0
    with share.source.open("rb", 2**20) as file, share.out.open("wb", 2**20) as out:
        if start:
            file.seek(start - 1)
            file.readline()  # the line that began before
        at = file.tell()
        while at < end and (lines := _some_lines(file, at, end)):
            at += sum(map(len, lines))
            ids, rows = read_rows(lines)
            out.write(write_answers(ids, run_rows(session, rows)))
            n_rows += len(ids)
    return n_rows


def _some_lines(file: Any, at: int, end: int) -> list[bytes]:
    """Return up to a batch of the lines that begin before `end`."""
    lines = []
    for line in islice(file, BATCH_ROWS):
        lines.append(line)
        at += len(line)
        if at >= end:
            break
    return lines


SCRIPTS: dict[str, Script] = {"npy": npy_read, "npy_mapped": npy_mapped, "parquet": parquet, "jsonl": jsonl}


def run_scripts(
    name: str, model: Path, source: Path, folder: Path, *, n_scripts: int, small: Path
) -> tuple[float, list[Path]]:
    """Run the scripts side by side; returns the seconds and the files of answers, in order.

    Each first does a small file of the same kind, so that nothing is done for the first time.

    Raises:
        RuntimeError: a script failed.
    """
    outs = [folder / f"plain-{number}{source.suffix}" for number in range(n_scripts)]
    shares = [Share(source, out, number, n_scripts) for number, out in enumerate(outs)]
    context = multiprocessing.get_context("spawn")
    barrier, clocks = context.Barrier(n_scripts + 1), context.SimpleQueue()
    processes = [
        context.Process(target=_script, args=(name, model, share, small, barrier, clocks), daemon=True)
        for share in shares
    ]
    for process in processes:
        process.start()
    try:
        barrier.wait(READY_TIMEOUT_S)
        times = _times(processes, clocks)
        # Of the scripts themselves: this process may be woken late.
        return max(end_s for _, end_s in times) - min(start_s for start_s, _ in times), outs
    finally:
        for process in processes:
            process.kill()
            process.join()


def _script(name: str, model: Path, share: Share, small: Path, barrier: Any, clocks: Any) -> None:
    session = open_session(model)
    SCRIPTS[name](session, Share(small, share.out, 0, 1))
    barrier.wait(READY_TIMEOUT_S)
    started_s = time.monotonic()  # the same clock in every process of a machine
    SCRIPTS[name](session, share)
    clocks.put((started_s, time.monotonic()))


def _times(processes: Sequence[Any], clocks: Any) -> list[tuple[float, float]]:
    """Return when each script began and ended."""
    give_up_s = time.monotonic() + RUN_TIMEOUT_S
    for process in processes:
        process.join(max(0.0, give_up_s - time.monotonic()))
        if process.exitcode != 0:
            raise RuntimeError(f"a plain script ended with status {process.exitcode}")
    return [clocks.get() for _ in processes]
