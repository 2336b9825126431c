"""The node tests of `onnx.backend.test` through the worker's own path: inspected, loaded, run as jobs, compared.

    python -m tests.corpus.onnx_nodes [--freed] [--out FILE] [--every N]
    python -m tests.corpus.onnx_nodes [--freed] [--every N] --write FOLDER

The first prints how many were right, wrong, failing and refused, and how many run one job at a time. Every answer is
compared with `session.run` on the job's own arrays. `--freed`: the first axis is free and all inputs but the first are
initializers. `--out`: a line of JSON for each case. `--every`: only each N-th case. The second runs nothing: it writes
the cases and their jobs as `tests.corpus.real_models` reads them, to send them over HTTP; without those whose answers
are random.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from ferry.errors import ModelRefusedError
from ferry.jobs import ClaimedJob
from ferry.manifest import MODEL_FILE, Manifest
from ferry.tensors import rows_first
from worker.equality import move_between
from worker.execution import runner_of
from worker.inspection.manifests import inspect
from worker.map_outputs import arrays_from_maps
from worker.models import load_model

# Jobs that meet in one claim.
N_JOBS = 24
TOLERANCE = 1e-6
PROCESSES = 2


@dataclass
class Finding:
    """What became of one case. outcome: right, wrong, failing, refused, untestable (onnxruntime does not run it)."""

    name: str
    outcome: str
    mode: str = ""
    reason: str = ""
    detail: str = ""


@cache
def cases() -> list[Any]:
    """Return the test cases as onnx ships them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in collect_testcases(None) if case.data_sets]


def model_and_inputs(index: int, *, is_freed: bool) -> tuple[Any, list[Any]] | None:
    """Return a case's model and inputs; None where it cannot be freed."""
    case = cases()[index]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs = [_as_array(value) for value in case.data_sets[0][0]]
    if not is_freed:
        return model, inputs
    graph = model.graph
    first = inputs[0] if inputs else None
    if not isinstance(first, np.ndarray) or first.ndim == 0 or not graph.input[0].type.HasField("tensor_type"):
        return None
    values = list(graph.input)
    if len(values) != len(inputs) or any(not isinstance(each, np.ndarray) for each in inputs[1:]):
        return None
    for value, array in zip(values[1:], inputs[1:], strict=True):
        graph.initializer.append(numpy_helper.from_array(array, value.name))
        graph.input.remove(value)
    for value in (graph.input[0], *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim:
            shape.dim[0].ClearField("dim_value")
            shape.dim[0].dim_param = "N"
    del graph.value_info[:]
    return model, inputs[:1]


def _as_array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic | float | int) else value


def examine(index: int, *, is_freed: bool) -> Finding | None:
    """Inspect, load and run one case."""
    name = cases()[index].name
    made = model_and_inputs(index, is_freed=is_freed)
    if made is None:
        return None
    model, inputs = made
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        onnx.save(model, path)
        feed = dict(zip((value.name for value in model.graph.input), inputs, strict=False))
        try:
            manifest = inspect(path, "m", "1")
        except ModelRefusedError as error:
            return Finding(name, "refused", reason=error.detail)
        try:
            served = load_model(Path(folder), manifest, threads=1)
            alone = _session(path)
            expected = _answers(alone, manifest, feed)
        except Exception as error:  # noqa: BLE001  a case onnxruntime itself cannot run says nothing of us
            return Finding(name, "untestable", detail=str(error)[:200])
        return _compared(name, manifest, served, alone, feed, expected)


def _compared(name: str, manifest: Manifest, served: Any, alone: Any, feed: dict[str, Any], expected: Any) -> Finding:
    finding = Finding(name, "right", manifest.execution.mode.value, manifest.execution.reason)
    # Random numbers may come in the same order in each new session.
    repeats = [_answers(alone, manifest, feed) for _ in range(3)]
    is_random = any(not _same(one, other, 0.0) for again in repeats for one, other in zip(expected, again, strict=True))
    jobs = list(_jobs(manifest, feed))
    claimed = [ClaimedJob(str(n), rows, served.inputs.pack(arrays), 1, 1) for n, (arrays, rows, _) in enumerate(jobs)]
    outcomes: dict[str, Any] = {}
    runner = runner_of(served, "t", numbers=iter(range(1, 10_000)))
    while waiting := [job for job in claimed if job.id not in outcomes]:
        outcomes |= {outcome.job_id: outcome for outcome in runner.run(waiting)}
    n_failed, n_wrong = 0, 0
    for n, (_, _, own) in enumerate(jobs):
        outcome = outcomes[str(n)]
        try:
            want = _answers(alone, manifest, own)
        except Exception:  # noqa: BLE001  what fails alone may fail here
            continue
        if outcome.error_code:
            n_failed += 1
            finding.detail = outcome.error[:200]
            continue
        got = served.outputs.unpack(outcome.output)
        if manifest.is_batched:
            want = [rows_first(spec, each) for spec, each in zip(manifest.outputs, want, strict=True)]
        allowed = TOLERANCE + manifest.execution.max_move
        if not is_random and not all(_same(one, other, allowed) for one, other in zip(want, got, strict=True)):
            n_wrong += 1
    if n_wrong:
        finding.outcome, finding.detail = "wrong", f"{n_wrong} of {len(jobs)} jobs"
    elif n_failed == len(jobs):
        finding.outcome = "failing"
    return finding


def _jobs(manifest: Manifest, feed: dict[str, Any]) -> Iterator[tuple[list[Any], int, dict[str, Any]]]:
    """Yield jobs: arrays for the codec, rows, and the feed of `session.run` alone; the case's own input comes first."""
    sent = {spec.name: feed[spec.name] for spec in manifest.inputs}
    if not manifest.is_batched:
        for _ in range(3):
            yield list(sent.values()), 1, feed
        return
    rows = [rows_first(spec, sent[spec.name]) for spec in manifest.inputs]
    for n in range(N_JOBS):
        row = n % len(rows[0])
        arrays = [_changed(array[row : row + 1], n) for array in rows]
        own = {
            spec.name: np.moveaxis(array, 0, spec.batch_axis or 0)
            for spec, array in zip(manifest.inputs, arrays, strict=True)
        }
        yield arrays, 1, own


def _changed(array: Any, n: int) -> Any:
    """Return a row as it is, and for later jobs out of recognition."""
    if array.dtype.kind != "f":
        return array
    factor = (1.0, 20.0, 0.05, -1.0)[n % 4]
    return (array * np.array(factor, array.dtype)).astype(array.dtype)


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _answers(session: Any, manifest: Manifest, feed: dict[str, Any]) -> list[Any]:
    results = session.run([spec.name for spec in manifest.outputs], feed)
    return [
        arrays_from_maps(result, spec.map_keys) if spec.map_keys else np.asarray(result)
        for spec, result in zip(manifest.outputs, results, strict=True)
    ]


def _same(one: Any, other: Any, tolerance: float) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype != other.dtype and one.dtype.kind == other.dtype.kind == "f":
        other = other.astype(one.dtype)
    return move_between(one, other) <= tolerance


def _safely(index: int, is_freed: bool) -> Finding | None:
    try:
        return examine(index, is_freed=is_freed)
    except Exception as error:  # noqa: BLE001  a harness that stops at case 900 counts nothing
        return Finding(cases()[index].name, "broken", detail=f"{type(error).__name__}: {error}"[:300])


def examine_all(*, is_freed: bool, every: int = 1) -> Iterator[Finding]:
    """Examine every case in processes of their own; one that ends its process is a finding too."""
    context = multiprocessing.get_context("spawn")
    waiting = list(range(0, len(cases()), every))
    while waiting:
        with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
            futures = {index: pool.submit(_safely, index, is_freed) for index in waiting}
            for index, future in futures.items():
                try:
                    finding = future.result()
                except BrokenProcessPool:
                    yield Finding(cases()[index].name, "crashed")
                    waiting = [each for each in waiting if each > index]
                    break
                if finding is not None:
                    yield finding
            else:
                return


def write_cases(folder: Path, *, is_freed: bool, every: int) -> Iterator[Path]:
    """Write models, and the jobs of those that are served, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(0, len(cases()), every):
        made = model_and_inputs(index, is_freed=is_freed)
        if made is None:
            continue
        model, inputs = made
        path = folder / f"{cases()[index].name}.onnx"
        onnx.save(model, path)
        feed = dict(zip((value.name for value in model.graph.input), inputs, strict=False))
        try:
            manifest = inspect(path, "m", "1")
        except ModelRefusedError:
            yield path
            continue
        session = _session(path)
        repeats = [_answers(session, manifest, feed) for _ in range(4)]
        if not all(_same(*pair, 0.0) for again in repeats[1:] for pair in zip(repeats[0], again, strict=True)):
            path.unlink()
            continue
        # Whole feeds: where the batch axis is fixed, the model alone runs no single row.
        arrays = {
            f"{spec.name}/{n}": _as_stored(_changed(feed[spec.name], n) if manifest.is_batched else feed[spec.name])
            for n in range(N_JOBS if manifest.is_batched else 3)
            for spec in manifest.inputs
        }
        np.savez(path.with_suffix(".npz"), **arrays)
        yield path


def _as_stored(array: Any) -> Any:
    return array.astype(np.str_) if array.dtype == object else array


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="onnx node tests through the worker's path")
    parser.add_argument("--freed", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.write:
        n_written = sum(1 for _ in write_cases(options.write, is_freed=options.freed, every=options.every))
        sys.stdout.write(f"{n_written} cases in {options.write}\n")
        return
    findings = list(examine_all(is_freed=options.freed, every=options.every))
    if options.out:
        options.out.write_text("".join(json.dumps(asdict(finding)) + "\n" for finding in findings))
    outcomes = Counter(finding.outcome for finding in findings)
    modes = Counter(finding.mode for finding in findings if finding.mode)
    sys.stdout.write(f"{len(findings)} cases: {dict(outcomes)}; modes: {dict(modes)}\n")
    for finding in findings:
        if finding.outcome in ("wrong", "failing", "broken", "crashed"):
            sys.stdout.write(f"  {finding.outcome}: {finding.name}: {finding.mode} {finding.detail}\n")


if __name__ == "__main__":
    main()
