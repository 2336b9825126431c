"""Batched execution: group the rows of claimed jobs, run them together, and find the job that makes a batch raise.

The bad rows of one job never harm another job: a batch that raises is halved until the job at fault runs alone. For
one such job among n this takes at most 2 log2(n) further runs. Only for models whose rows are independent;
`whole_jobs.py` has the other mode.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, count
from typing import Protocol

import numpy as np

from ferry.errors import InvalidInputError, ModelError
from ferry.jobs import ClaimedJob, Outcome
from ferry.manifest import NonFinite
from ferry.profile import BatchLimits
from ferry.tensors import Array, TensorCodec
from worker.non_finite import blanked, faults
from worker.outcomes import Run, StageTimes, failed

# Words in the errors of onnxruntime and its devices when memory ran out; they raise no MemoryError.
OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "out of memory")


# Gets the jobs of a run, its rows, their results, and how many seconds it took.
OnBatch = Callable[[Sequence[ClaimedJob], list[Array], list[Array], float], None]


class Batched(Protocol):
    """What a batch needs of a model."""

    limits: BatchLimits
    inputs: TensorCodec
    outputs: TensorCodec
    non_finite: NonFinite

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run rows; shapes as in `worker.models.Model.run`."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Jobs whose rows have the same inner shapes; `rows_of(first, last)` gives those of jobs[first:last], by input."""

    jobs: Sequence[ClaimedJob]
    rows_of: Callable[[int, int], list[Array]]


class BatchRunner:
    """Runs the jobs of one ticket; numbers its runs `<ticket id>.<n>`."""

    def __init__(
        self,
        model: Batched,
        ticket_id: str,
        *,
        numbers: Iterator[int] | None = None,
        on_batch: OnBatch | None = None,
        clock: Callable[[], float] = time.perf_counter,
        stage_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`numbers`: of the ticket's runs, where several models are run on it. `on_batch` gets each batch that ran."""
        self._model = model
        self._on_batch = on_batch
        self._clock = clock
        self._stages = StageTimes(stage_clock)
        self._halves = 0
        self._batch_ids: Iterator[str] = (f"{ticket_id}.{n}" for n in (count(1) if numbers is None else numbers))

    def run(self, jobs: Sequence[ClaimedJob]) -> list[Outcome]:
        """Return one outcome per job, in any order. Rows of different inner shapes never share a run.

        Raises:
            KeyboardInterrupt, SystemExit: the process must stop; no job has ended by it.
        """
        if not jobs:
            return []
        counts = [job.rows for job in jobs]
        ends = [0, *accumulate(counts)]
        try:
            with self._stages.measure("decode"):
                together = self._model.inputs.unpack_together([job.payload for job in jobs])
        except (ValueError, MemoryError):
            together = None  # one of them is damaged, or there is no room for copies
        # Payloads taken together are of one shape; jobs that say otherwise would get each other's rows.
        if together is None or min(counts) < max(counts) or any(len(array) != ends[-1] for array in together):
            return self._run_apart(jobs)
        return self._run_group(_Group(jobs, partial(_slices_of, together, ends)))

    def take_spent(self) -> tuple[dict[str, float], int]:
        """Return seconds by stage (decode, assemble, infer, split), and runs of halves, since the last call."""
        halves, self._halves = self._halves, 0
        return self._stages.take(), halves

    def run_with(self, jobs: Sequence[ClaimedJob], company: list[Array]) -> tuple[list[Outcome], list[Array]] | None:
        """Run jobs in one batch with rows of a bulk chunk (`company`); returns outcomes, and those rows' results.

        None where they cannot share a run, or the run raised: nothing is recorded, and the caller runs both apart.
        """
        counts = [job.rows for job in jobs]
        n_rows, started = sum(counts), self._clock()
        try:
            together = self._model.inputs.unpack_together([job.payload for job in jobs])
            if together is None or min(counts) < max(counts) or any(len(array) != n_rows for array in together):
                return None
            arrays = [np.concatenate(parts) for parts in zip(together, company, strict=True)]
            results = self._model.run(arrays)
            run = (next(self._batch_ids), len(arrays[0]), len(jobs), self._us_since(started))
            outcomes = self._outcomes(jobs, [result[:n_rows] for result in results], run)
        except Exception:  # noqa: BLE001  running them apart shows which one raises
            return None
        return outcomes, [result[n_rows:] for result in results]

    def _run_apart(self, jobs: Sequence[ClaimedJob]) -> list[Outcome]:
        """Take each payload by itself, so that a damaged one fails alone, and run those of a shape together."""
        outcomes: list[Outcome] = []
        groups: dict[tuple[tuple[int, ...], ...], list[tuple[ClaimedJob, list[Array]]]] = {}
        for job in jobs:
            try:
                arrays = _arrays_of(job, self._model.inputs)
            except ValueError as error:
                unrun = (next(self._batch_ids), job.rows, 1, 0)
                outcomes.append(failed(job, unrun, InvalidInputError.code, str(error)))
            else:
                groups.setdefault(tuple(array.shape[1:] for array in arrays), []).append((job, arrays))
        for members in groups.values():
            columns = list(zip(*(arrays for _, arrays in members), strict=True))
            outcomes += self._run_group(_Group([job for job, _ in members], partial(_rows_of, columns)))
        return outcomes

    def _run_group(self, group: _Group) -> list[Outcome]:
        """Run a group in batches of up to `max_rows`."""
        max_rows = self._model.limits.max_rows
        outcomes: list[Outcome] = []
        first = n_rows = 0
        for index, job in enumerate(group.jobs):
            if n_rows and n_rows + job.rows > max_rows:
                outcomes += self._run_batch(group, first, index)[0]
                first, n_rows = index, 0
            n_rows += job.rows
        return outcomes + self._run_batch(group, first, len(group.jobs))[0]

    def _run_batch(self, group: _Group, first: int, last: int) -> tuple[list[Outcome], bool]:
        """Run jobs[first:last] together, in halves where that raises; returns also whether it did."""
        jobs, batch_id, started = group.jobs[first:last], next(self._batch_ids), self._clock()
        try:
            with self._stages.measure("assemble"):
                arrays = group.rows_of(first, last)
            n_rows = len(arrays[0])
            with self._stages.measure("infer"):
                results = self._run_rows(arrays, may_shrink=len(jobs) == 1)
            run = (batch_id, n_rows, len(jobs), self._us_since(started))
            if self._on_batch and n_rows <= self._model.limits.max_rows:
                self._on_batch(jobs, arrays, results, run[3] / 1e6)
            with self._stages.measure("split"):
                return self._outcomes(jobs, results, run), False
        except Exception as error:  # noqa: BLE001  a MemoryError too: an error of the model concerns this batch only
            if len(jobs) == 1:
                run = (batch_id, jobs[0].rows, 1, self._us_since(started))
                return [failed(jobs[0], run, ModelError.code, f"{type(error).__name__}: {error}")], True
            is_of_rows = not _is_out_of_memory(error)
        # Outside of the handler: the error keeps the arrays in memory, which were too large already.
        return self._run_halves(group, first, last, is_of_rows=is_of_rows), True

    def _run_halves(self, group: _Group, first: int, last: int, *, is_of_rows: bool) -> list[Outcome]:
        """Run what raised in halves. If the first does not raise, the second must; so it is halved at once.

        Where memory ran out (`is_of_rows` is false) that does not follow, so the second half runs as it is. If a model
        raises for another reason than its rows, some batches are smaller than necessary. Nothing else changes.
        """
        middle = (first + last) // 2
        self._halves += 2
        outcomes, has_raised = self._run_batch(group, first, middle)
        if has_raised or not is_of_rows or last - middle == 1:
            return outcomes + self._run_batch(group, middle, last)[0]
        return outcomes + self._run_halves(group, middle, last, is_of_rows=True)

    def _run_rows(self, arrays: list[Array], *, may_shrink: bool) -> list[Array]:
        """Run all rows in slices of `max_rows`, or, where memory is too small for those and they may, smaller ones."""
        size = self._model.limits.max_rows
        while True:
            try:
                return self._run_slices(arrays, size)
            except Exception as error:
                size = min(size, len(arrays[0])) // 2
                if not may_shrink or size == 0 or not _is_out_of_memory(error):
                    raise

    def _run_slices(self, arrays: list[Array], size: int) -> list[Array]:
        n_rows = len(arrays[0])
        if n_rows <= size:
            return self._model.run(arrays)
        slices = [
            self._model.run([array[start : start + size] for array in arrays]) for start in range(0, n_rows, size)
        ]
        return [np.concatenate(parts) for parts in zip(*slices, strict=True)]

    def _outcomes(self, jobs: Sequence[ClaimedJob], results: list[Array], run: Run) -> list[Outcome]:
        """Give each job its own rows of the results, and hold its numbers to the manifest's rule."""
        codec, counts = self._model.outputs, [job.rows for job in jobs]
        batch_id, n_rows, n_jobs, run_us = run
        rule = self._model.non_finite
        if rule is NonFinite.NULL:
            results = blanked(results)
        outcomes = [
            Outcome(job.id, batch_id, n_rows, n_jobs, run_us, job.attempt, job.started_us, output)
            for job, output in zip(jobs, codec.pack_apart(results, counts), strict=True)
        ]
        if rule is NonFinite.FAIL:
            for index, fault in faults(codec.specs, results, counts).items():
                outcomes[index] = failed(jobs[index], run, ModelError.code, fault)
        return outcomes

    def _us_since(self, started: float) -> int:
        return int((self._clock() - started) * 1e6)


def _arrays_of(job: ClaimedJob, codec: TensorCodec) -> list[Array]:
    arrays = codec.unpack(job.payload)
    for spec, array in zip(codec.specs, arrays, strict=True):
        # With fewer rows, the next jobs would get results of other rows.
        if len(array) != job.rows:
            raise ValueError(
                f"payload of {len(job.payload)} bytes holds {len(array)} rows of {spec.name!r}, not {job.rows}"
            )
    return arrays


def _slices_of(arrays: list[Array], ends: list[int], first: int, last: int) -> list[Array]:
    return [array[ends[first] : ends[last]] for array in arrays]


def _rows_of(columns: list[tuple[Array, ...]], first: int, last: int) -> list[Array]:
    return [column[first] if last - first == 1 else np.concatenate(column[first:last]) for column in columns]


def _is_out_of_memory(error: Exception) -> bool:
    """Say whether an error came from the number of rows, not from their values."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)
