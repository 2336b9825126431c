"""The check in production over many batches: does it leave independent models alone, and when does it find others?

    python -m tests.corpus.checked_batches FOLDER --models-dir DIR [--batches N] [--seconds S]

First a model that mixes rows only beside large values is run as its author declared it, batched, with large rows of
different frequency; a line says after how many batches the check found it, over many seeds. Then each `*.onnx`
of FOLDER that the model repository DIR has, and that stays batched, is run through the worker's own path, in batches of
random jobs (those of `tests.corpus.real_models`) and sizes, up to N batches or S seconds each. None may be switched;
the exit status is 1 where one was. The check is called after each batch, as when no job waits.
"""

import argparse
import logging
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter

import numpy as np
import onnx

from ferry.jobs import ClaimedJob
from ferry.manifest import MODEL_FILE, Manifest, read_manifest
from ferry.tensors import Array, rows_first
from tests import onnx_models
from tests.corpus.real_jobs import jobs_of
from worker.execution import runner_of
from worker.inspection.manifests import inspect
from worker.models import Model, load_model
from worker.neighbour_check import CHECK_SHARE, Batch, Influence, NeighbourCheck

MAX_JOBS = 16
# The mixing model: rows above LIMIT open the gate for those beside them.
LIMIT = 100.0
SEEDS = 25
GIVE_UP_BATCHES = 200_000


@dataclass
class Tally:
    """What happened while a model ran. run_s, check_s: seconds that runs and checks took."""

    batches: int = 0
    rows: int = 0
    run_s: float = 0.0
    check_s: float = 0.0
    results: Counter[str] = field(default_factory=Counter)
    found: list[Influence] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Return the time of checks as a part of the time of runs."""
        return self.check_s / self.run_s if self.run_s else 0.0


def run_checked(model: Model, jobs: Sequence[tuple[bytes, int]], *, seed: int) -> Iterator[Tally]:
    """Run batches without end and check them as the worker does; yields the tally after each. `jobs`: payload, rows."""
    random, tally, key = Random(seed), Tally(), (model.manifest.name, model.manifest.version)

    def checked(_: tuple[str, str], result: str, spent_s: float) -> None:
        tally.results[result] += 1
        tally.check_s += spent_s

    check = NeighbourCheck(tally.found.append, on_checked=checked, choose=random.randrange)

    def ran(those: Sequence[ClaimedJob], arrays: list[Array], results: list[Array], run_s: float) -> None:
        tally.batches += 1
        tally.rows += len(arrays[0])
        tally.run_s += run_s
        check.batch_ran(
            Batch(key, model, [job.id for job in those], [job.rows for job in those], arrays, results, run_s)
        )

    runner = runner_of(model, "t", numbers=count(1), on_batch=ran)
    numbers = count()
    while True:
        chosen = random.choices(jobs, k=random.randint(2, MAX_JOBS))
        failures = [
            outcome.error
            for outcome in runner.run([ClaimedJob(str(next(numbers)), n, data, 1, 1) for data, n in chosen])
            if outcome.error_code
        ]
        if failures:
            raise AssertionError(failures[0])
        check.check()
        yield tally


def batches_until_caught(rate: float, *, seed: int) -> int:
    """Run the mixing model, where each job has a large row with probability `rate`, until the check finds it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(onnx_models.decides_over_the_batch("ReduceMax", LIMIT), folder / MODEL_FILE)
        tensors = inspect(folder / MODEL_FILE, "gated", "1").model_dump()
        declared = {"mode": "batched", "evidence": "declared", "reason": "the author says so"}
        model = load_model(folder, Manifest.model_validate(tensors | {"execution": declared}), threads=1)
    random = Random(seed)
    rows = [np.full((1, 3), 500.0 if random.random() < rate else 1.0 + n % 5, np.float32) for n in range(4096)]
    for tally in run_checked(model, [(model.inputs.pack([row]), 1) for row in rows], seed=seed):
        if tally.found or tally.batches >= GIVE_UP_BATCHES:
            return tally.batches
    raise AssertionError("run_checked ended")


def examine(folder: Path, jobs_beside: Path, *, batches: int, seconds: float) -> Tally | None:
    """Run a published model (`folder` of its version) that stays batched; None where it does not."""
    manifest = read_manifest(folder)
    if not manifest.is_batched:
        return None
    model = load_model(folder, manifest, threads=1)
    jobs = []
    for job in jobs_of(jobs_beside, manifest.inputs, manifest.outputs):
        arrays = [rows_first(spec, job.inputs[spec.name]) for spec in manifest.inputs]
        jobs.append((model.inputs.pack(arrays), len(arrays[0])))
    until = perf_counter() + seconds
    for tally in run_checked(model, jobs, seed=1):
        if tally.found or tally.batches >= batches or perf_counter() >= until:
            return tally
    raise AssertionError("run_checked ended")


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="The check in production, over many batches of real models.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models-dir", type=Path, required=True, help="the model repository that they were added to")
    parser.add_argument("--batches", type=int, default=10_000, help="of each model at most (10,000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each model at most (30)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    write = sys.stdout.write
    write(
        f"share {CHECK_SHARE}\n| jobs with a large row | batches until caught: median | largest of {SEEDS} |\n"
        "|---|---|---|\n"
    )
    for rate in (0.5, 0.1, 0.01):
        caught = [batches_until_caught(rate, seed=seed) for seed in range(SEEDS)]
        write(f"| {rate:.0%} | {statistics.median(caught):,} | {max(caught):,} |\n")
    write(
        "\n| model | batches | rows per run | checks | share of the run time | switched |\n|---|---|---|---|---|---|\n"
    )
    total = Tally()
    for path in sorted(options.folder.glob("*.onnx")):
        folder = options.models_dir / path.stem.lower() / "1"
        if not folder.is_dir():
            continue
        tally = examine(folder, path, batches=options.batches, seconds=options.seconds)
        if tally is None:
            continue
        for each in ("batches", "rows", "run_s", "check_s", "found", "results"):
            setattr(total, each, getattr(total, each) + getattr(tally, each))
        write(f"| {path.stem} | {_cells(tally)} |\n")
        sys.stdout.flush()
    write(f"| all | {_cells(total)} |\n")
    return 1 if total.found else 0


def _cells(tally: Tally) -> str:
    checks = ", ".join(f"{n:,} {result}" for result, n in sorted(tally.results.items())) or "none"
    switched = f"{tally.found[0].change}: {tally.found[0].move:.1e}" if tally.found else "no"
    return f"{tally.batches:,} | {tally.rows / max(tally.batches, 1):.1f} | {checks} | {tally.share:.2%} | {switched}"


if __name__ == "__main__":
    sys.exit(main())
