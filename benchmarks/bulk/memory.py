"""What a large file costs in memory: resident bytes of every process of API and workers, from upload to answers."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.bulk import networks
from benchmarks.bulk.answers import read_answers
from benchmarks.bulk.batch_client import BatchClient, Times
from benchmarks.bulk.data import INNER_SHAPE
from benchmarks.bulk.files import Files
from benchmarks.bulk.plan import N_PROCESSES, BulkPlan
from benchmarks.bulk.rates import Say
from benchmarks.ferry_system import stack
from benchmarks.processes import descendants

SAMPLE_S = 0.1
ROW_BYTES = 4 * INNER_SHAPE[0] * INNER_SHAPE[1]
MB = 10**6
PARTS = ("api", "worker")
_RESET_PEAK = "5"  # proc(5), clear_refs

Sizes = dict[int, int]  # resident bytes by process


def measure(files: Files, plan: BulkPlan, say: Say) -> dict[str, Any]:
    """Return resident bytes before, the greatest sums that were seen, and each process's own peak."""
    network, folder = networks.find("mlp"), files.fresh("ferry")
    truth = network.truth(files)
    n_rows = -(-plan.memory_bytes // ROW_BYTES)
    source, answers = files.get("npy", n_rows), folder / "answers.npy"
    with stack(folder, workers=str(N_PROCESSES)) as info, BatchClient(info.api_url) as client:
        # Everything is loaded and every buffer has its size before the first look.
        small = files.get("npy", plan.warm_up_rows)
        for _ in range(2 * N_PROCESSES):
            client.run(small, model=network.name, output_format="npy", answers=answers)
        pids = pids_by_part(os.getpid())
        before = {part: _sizes(pids[part]) for part in PARTS}
        _reset_peaks(pids)
        with Sampler(pids) as sampler:
            batch = client.run(source, model=network.name, output_format="npy", answers=answers)
        peaks = {part: _sizes(pids[part], "VmHWM:") for part in PARTS}
        is_same = pids_by_part(os.getpid()) == pids
    accuracy = truth.check(read_answers([answers], is_ordered=True), n_rows)
    files.drop(source)
    found = {
        "file_bytes": source_bytes(n_rows), "rows": n_rows, "accuracy": accuracy, "timings": Times.of(batch).figures(),
        "same_processes": is_same, "samples": sampler.samples,
        "parts": {part: grown(before[part], sampler.most(part), peaks[part]) for part in PARTS},
    }  # fmt: skip
    say(f"memory: {found['parts']}")
    return found


def source_bytes(n_rows: int) -> int:
    """Return the bytes of so many rows."""
    return n_rows * ROW_BYTES


def grown(before: Sizes, most: int, peaks: Sizes) -> dict[str, Any]:
    """Return how much a part's processes grew, in MB: together at their greatest, and the one that grew most."""
    single = max((peaks[pid] - size for pid, size in before.items() if peaks.get(pid)), default=0)
    return {
        "processes": len(before), "before_mb": round(sum(before.values()) / MB, 1),
        "grew_mb": round((most - sum(before.values())) / MB, 1), "grew_most_mb": round(single / MB, 1),
    }  # fmt: skip


class Sampler:
    """Looks at the processes in a thread while the context lasts."""

    def __init__(self, pids: Mapping[str, Sequence[int]]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started_s = time.monotonic()
        self.samples: list[dict[str, float]] = []

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def most(self, part: str) -> int:
        """Return the greatest sum of a part's processes, in bytes."""
        return int(max((sample[part] for sample in self.samples), default=0))

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            sums = {part: sum(_sizes(pids).values()) for part, pids in self._pids.items()}
            self.samples.append({"s": round(time.monotonic() - self._started_s, 2)} | sums)


def pids_by_part(pid: int) -> dict[str, list[int]]:
    """Return the descendants of a process that are Ferry's API and its workers."""
    found: dict[str, list[int]] = {part: [] for part in PARTS}
    for child, _ in descendants(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            if part := part_of(Path(f"/proc/{child}/cmdline").read_text().split("\0")):
                found[part].append(child)
    return {part: sorted(pids) for part, pids in found.items()}


def part_of(command: Sequence[str]) -> str | None:
    """Return the part of Ferry that a command line starts, if it is one of PARTS."""
    words = list(command)
    if "-m" in words and (name := words[words.index("-m") + 1]) in PARTS:
        return name
    # One of several API processes, which uvicorn starts so; the workers start none.
    return "api" if any("multiprocessing.spawn" in word for word in words) else None


def _sizes(pids: Sequence[int], field: str = "VmRSS:") -> Sizes:
    found = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found[pid] = next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)
    return found


def _reset_peaks(pids: Mapping[str, Sequence[int]]) -> None:
    """Let each process's peak (VmHWM) start from what it has now."""
    for pid in (pid for each in pids.values() for pid in each):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
