"""From claimed jobs to outcomes: group, run, and when a batch raises, find the job that made it.

One job's bad rows never harm another's: a batch that raises is halved until the culprit stands alone.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, count
from typing import Protocol

import numpy as np

from ferry.errors import InvalidInputError, ModelError
from ferry.jobs import ClaimedJob, Outcome
from ferry.profile import BatchLimits
from ferry.tensors import Array, TensorCodec

# An error message is kept to this many characters: onnxruntime's can hold a whole graph.
MAX_ERROR_CHARS = 2000

logger = logging.getLogger(__name__)


class Runnable(Protocol):
    """What a batch needs of a model."""

    limits: BatchLimits
    inputs: TensorCodec
    outputs: TensorCodec

    @property
    def claim_rows(self) -> int:
        """How many rows a worker takes at once."""

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run rows; shapes as in `worker.models.Model.run`."""


class BatchRunner:
    """Runs the jobs of one ticket; numbers its runs `<ticket id>.<n>`."""

    def __init__(self, model: Runnable, ticket_id: str, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model = model
        self._clock = clock
        self._batch_ids: Iterator[str] = (f"{ticket_id}.{n}" for n in count(1))

    def run(self, jobs: Sequence[ClaimedJob]) -> list[Outcome]:
        """Return one outcome per job, in any order. Rows of different inner shapes never share a run."""
        if not jobs:
            return []
        try:
            together = self._model.inputs.unpack_together([job.payload for job in jobs])
        except ValueError:
            together = None  # one of them is damaged
        if together is not None:
            ends = [0, *accumulate(job.rows for job in jobs)]
            return self._run_group(jobs, lambda first, last: [array[ends[first] : ends[last]] for array in together])
        outcomes: list[Outcome] = []
        groups: dict[tuple[tuple[int, ...], ...], list[tuple[ClaimedJob, list[Array]]]] = {}
        for job in jobs:
            try:
                arrays = self._model.inputs.unpack(job.payload)
            except ValueError as error:
                outcomes.append(_failed(job, next(self._batch_ids), InvalidInputError.code, str(error)))
            else:
                groups.setdefault(tuple(array.shape[1:] for array in arrays), []).append((job, arrays))
        for members in groups.values():
            columns = list(zip(*(arrays for _, arrays in members), strict=True))
            outcomes += self._run_group([job for job, _ in members], partial(_rows_of, columns))
        return outcomes

    def _run_group(self, jobs: Sequence[ClaimedJob], rows_of: Callable[[int, int], list[Array]]) -> list[Outcome]:
        """Run jobs of equal inner shapes in batches of up to `max_rows`; `rows_of(first, last)` has those of some."""
        max_rows = self._model.limits.max_rows
        outcomes: list[Outcome] = []
        first = n_rows = 0
        for index, job in enumerate(jobs):
            if n_rows and n_rows + job.rows > max_rows:
                outcomes += self._run_batch(jobs[first:index], rows_of(first, index))
                first, n_rows = index, 0
            n_rows += job.rows
        return outcomes + self._run_batch(jobs[first:], rows_of(first, len(jobs)))

    def _run_batch(self, jobs: Sequence[ClaimedJob], arrays: list[Array]) -> list[Outcome]:
        """Run jobs together; halve them where that raises."""
        batch_id = next(self._batch_ids)
        started = self._clock()
        try:
            results = self._run_rows(arrays)
            return self._split(jobs, results, batch_id, int((self._clock() - started) * 1e6))
        except Exception as error:  # noqa: BLE001  a MemoryError too: whatever the model does is this batch's affair
            if len(jobs) == 1:
                logger.warning("job %s failed in batch %s: %s", jobs[0].id, batch_id, error)
                return [_failed(jobs[0], batch_id, ModelError.code, f"{type(error).__name__}: {error}")]
        half = len(jobs) // 2
        row = sum(job.rows for job in jobs[:half])
        first, second = [array[:row] for array in arrays], [array[row:] for array in arrays]
        return self._run_batch(jobs[:half], first) + self._run_batch(jobs[half:], second)

    def _run_rows(self, arrays: list[Array]) -> list[Array]:
        """Run all rows, in slices of `max_rows` when there are more (one large job)."""
        max_rows = self._model.limits.max_rows
        n_rows = arrays[0].shape[0]
        if n_rows <= max_rows:
            return self._model.run(arrays)
        slices = [
            self._model.run([array[start : start + max_rows] for array in arrays])
            for start in range(0, n_rows, max_rows)
        ]
        return [np.concatenate(parts) for parts in zip(*slices, strict=True)]

    def _split(self, jobs: Sequence[ClaimedJob], results: list[Array], batch_id: str, run_us: int) -> list[Outcome]:
        n_rows, n_jobs = results[0].shape[0], len(jobs)
        outputs = self._model.outputs.pack_apart(results, [job.rows for job in jobs])
        return [
            Outcome(job.id, batch_id, n_rows, n_jobs, run_us, job.attempt, job.started_us, output)
            for job, output in zip(jobs, outputs, strict=True)
        ]


def _rows_of(columns: list[tuple[Array, ...]], first: int, last: int) -> list[Array]:
    return [column[first] if last - first == 1 else np.concatenate(column[first:last]) for column in columns]


def _failed(job: ClaimedJob, batch_id: str, code: str, message: str) -> Outcome:
    return Outcome(
        job.id, batch_id, job.rows, 1, 0, job.attempt, job.started_us, error_code=code, error=message[:MAX_ERROR_CHARS]
    )
