"""Whole-job execution: the arrays of one job are one run, as they are.

No rows of other jobs are added, nothing is split or padded. For models whose rows influence each other, and for models
without rows. `batches.py` has the other mode.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Protocol

from ferry.errors import InvalidInputError, ModelError
from ferry.jobs import ClaimedJob, Outcome
from ferry.manifest import NonFinite
from ferry.tensors import Array, Codec
from worker.non_finite import blanked, first_fault
from worker.outcomes import Run, StageTimes, failed

# A claim holds several jobs because those before were short. Where these are not, another worker may have the rest.
CLAIM_LIMIT_S = 0.05


class Whole(Protocol):
    """What a whole job needs of a model."""

    inputs: Codec
    outputs: Codec
    non_finite: NonFinite

    def run_whole(self, arrays: list[Array]) -> list[Array]:
        """Run the arrays of one job; shapes as in `worker.models.Model.run_whole`."""


class WholeJobRunner:
    """Runs the jobs of one ticket, each by itself; numbers its runs `<ticket id>.<n>`."""

    def __init__(
        self,
        model: Whole,
        ticket_id: str,
        *,
        numbers: Iterator[int] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        stage_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`numbers`: of the ticket's runs, where several models are run on it."""
        self._model = model
        self._clock = clock
        self._stages = StageTimes(stage_clock)
        self._batch_ids: Iterator[str] = (f"{ticket_id}.{n}" for n in (count(1) if numbers is None else numbers))

    def run(self, jobs: Sequence[ClaimedJob]) -> list[Outcome]:
        """Return one outcome per job, in order; fewer where the first ones took longer than CLAIM_LIMIT_S.

        The queue takes back jobs that have no outcome when their claim is settled.

        Raises:
            KeyboardInterrupt, SystemExit: the process must stop; no job has ended by it.
        """
        started, outcomes = self._clock(), list[Outcome]()
        for job in jobs:
            if outcomes and self._clock() - started > CLAIM_LIMIT_S:
                break
            outcomes.append(self._run_one(job))
        return outcomes

    def take_spent(self) -> tuple[dict[str, float], int]:
        """Return seconds by stage since the last call; nothing is ever run in halves."""
        return self._stages.take(), 0

    def _run_one(self, job: ClaimedJob) -> Outcome:
        batch_id, started = next(self._batch_ids), self._clock()
        try:
            with self._stages.measure("decode"):
                arrays = self._model.inputs.unpack(job.payload)
        except ValueError as error:
            return failed(job, (batch_id, job.rows, 1, 0), InvalidInputError.code, str(error))
        try:
            with self._stages.measure("infer"):
                results = self._model.run_whole(arrays)
            run: Run = (batch_id, job.rows, 1, int((self._clock() - started) * 1e6))
            with self._stages.measure("split"):
                return self._outcome(job, results, run)
        except Exception as error:  # noqa: BLE001  a MemoryError too: the job fails, whatever the model did
            run = (batch_id, job.rows, 1, int((self._clock() - started) * 1e6))
            return failed(job, run, ModelError.code, f"{type(error).__name__}: {error}")

    def _outcome(self, job: ClaimedJob, results: list[Array], run: Run) -> Outcome:
        """Hold the numbers to the manifest's rule, and pack them."""
        rule, codec = self._model.non_finite, self._model.outputs
        if rule is NonFinite.FAIL and (fault := first_fault(codec.specs, results)):
            return failed(job, run, ModelError.code, fault)
        if rule is NonFinite.NULL:
            results = blanked(results)
        return Outcome(job.id, *run, job.attempt, job.started_us, codec.pack(results))
