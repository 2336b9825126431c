"""From claimed jobs to outcomes: group, run, and when a batch raises, find the job that made it.

One job's bad rows never harm another's: a batch that raises is halved until the culprit stands alone.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
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

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run rows; shapes as in `worker.models.Model.run`."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    job: ClaimedJob
    arrays: list[Array]

    @property
    def inner_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(array.shape[1:] for array in self.arrays)


class BatchRunner:
    """Runs the jobs of one ticket; numbers its runs `<ticket id>.<n>`."""

    def __init__(self, model: Runnable, ticket_id: str, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model = model
        self._clock = clock
        self._batch_ids: Iterator[str] = (f"{ticket_id}.{n}" for n in count(1))

    def run(self, jobs: Sequence[ClaimedJob]) -> list[Outcome]:
        """Return one outcome per job, in any order. Rows of different inner shapes never share a run."""
        outcomes: list[Outcome] = []
        groups: dict[tuple[tuple[int, ...], ...], list[_Decoded]] = {}
        for job in jobs:
            try:
                decoded = _Decoded(job, self._model.inputs.unpack(job.payload))
            except ValueError as error:
                outcomes.append(_failed(job, next(self._batch_ids), InvalidInputError.code, str(error)))
            else:
                groups.setdefault(decoded.inner_shapes, []).append(decoded)
        for group in groups.values():
            outcomes += self._run_group(group)
        return outcomes

    def _run_group(self, group: list[_Decoded]) -> list[Outcome]:
        batch_id = next(self._batch_ids)
        started = self._clock()
        try:
            results = self._run_rows([list(column) for column in zip(*(item.arrays for item in group), strict=True)])
            return self._split(group, results, batch_id, int((self._clock() - started) * 1e6))
        except Exception as error:  # noqa: BLE001  a MemoryError too: whatever the model does is this batch's affair
            if len(group) == 1:
                logger.warning("job %s failed in batch %s: %s", group[0].job.id, batch_id, error)
                return [_failed(group[0].job, batch_id, ModelError.code, f"{type(error).__name__}: {error}")]
        half = len(group) // 2
        return self._run_group(group[:half]) + self._run_group(group[half:])

    def _run_rows(self, columns: list[list[Array]]) -> list[Array]:
        """Run all rows, in slices of `max_rows` when there are more (one large job)."""
        arrays = [column[0] if len(column) == 1 else np.concatenate(column) for column in columns]
        max_rows = self._model.limits.max_rows
        n_rows = arrays[0].shape[0]
        if n_rows <= max_rows:
            return self._model.run(arrays)
        slices = [
            self._model.run([array[start : start + max_rows] for array in arrays])
            for start in range(0, n_rows, max_rows)
        ]
        return [np.concatenate(parts) for parts in zip(*slices, strict=True)]

    def _split(self, group: list[_Decoded], results: list[Array], batch_id: str, run_us: int) -> list[Outcome]:
        outcomes, start = [], 0
        n_rows = results[0].shape[0]
        for item in group:
            end = start + item.job.rows
            output = self._model.outputs.pack([result[start:end] for result in results])
            outcomes.append(
                Outcome(
                    item.job.id,
                    batch_id,
                    n_rows,
                    len(group),
                    run_us,
                    item.job.attempt,
                    item.job.started_us,
                    output=output,
                )
            )
            start = end
        return outcomes


def _failed(job: ClaimedJob, batch_id: str, code: str, message: str) -> Outcome:
    return Outcome(
        job.id, batch_id, job.rows, 1, 0, job.attempt, job.started_us, error_code=code, error=message[:MAX_ERROR_CHARS]
    )
