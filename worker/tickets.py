"""What a ticket does: claim, run, settle. Knows the queue and the loaded models, nothing of Celery."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ferry.errors import QueueUnavailableError
from ferry.jobs import Claim, Outcome
from ferry.profile import BatchLimits
from worker.batches import BatchRunner, Runnable

# While Redis is away a finished batch is kept and offered again this often.
SETTLE_RETRY_S = 0.2

logger = logging.getLogger(__name__)


class JobSource(Protocol):
    """What a ticket needs of the queue (ferry.queue.consumer.Consumer)."""

    def claim(self, model: str, version: str, *, max_rows: int, token: str = "") -> Claim:
        """Take jobs, or add to a claim."""

    def settle(self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, is_last: bool) -> int:
        """Record outcomes."""


class Leases(Protocol):
    """Who keeps a claim's lease alive while it is held (worker.pulse.Pulse)."""

    def holding(self, token: str) -> AbstractContextManager[None]:
        """Renew the lease of `token` until the context ends."""


class TicketRunner:
    """Serves tickets with the models at hand."""

    def __init__(
        self,
        source: JobSource,
        leases: Leases,
        models: Callable[[str, str], Runnable | None],
        *,
        give_up_s: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._leases = leases
        self._models = models
        self._give_up_s = give_up_s
        self._sleep = sleep
        self._clock = clock

    def serve(self, ticket_id: str, name: str, version: str) -> dict[str, Any]:
        """Claim once and run what was claimed; returns what Flower shows as the ticket's result.

        A ticket that finds nothing is normal: another worker was faster.
        """
        model = self._models(name, version)
        if model is None:
            return {"model": name, "version": version, "jobs": 0, "note": "not loaded here"}
        # Read once: what is set live meanwhile counts from the next ticket on.
        limits = model.limits
        claim = self._source.claim(name, version, max_rows=limits.max_rows)
        if not claim.jobs:
            return {"model": name, "version": version, "jobs": 0}
        with self._leases.holding(claim.token):
            claim = self._fill(claim, name, version, limits)
            outcomes = BatchRunner(model, ticket_id).run(claim.jobs)
            recorded = self._settle(claim, name, version, outcomes)
        return _summary(name, version, claim, outcomes, recorded)

    def _fill(self, claim: Claim, name: str, version: str, limits: BatchLimits) -> Claim:
        """Wait once for company where waiting pays."""
        room = limits.max_rows - claim.rows
        if limits.max_wait_ms <= 0 or room <= 0 or any(job.attempt > 1 for job in claim.jobs):
            return claim
        self._sleep(limits.max_wait_ms / 1000)
        try:
            more = self._source.claim(name, version, max_rows=room, token=claim.token)
        except QueueUnavailableError as error:
            logger.warning("no company for a batch: %s", error)
            return claim
        return Claim(claim.token, claim.jobs + more.jobs)

    def _settle(self, claim: Claim, name: str, version: str, outcomes: list[Outcome]) -> int:
        """Record outcomes, however long Redis is away; the work is done and must not be done twice."""
        started = self._clock()
        while True:
            try:
                return self._source.settle(claim, name, version, outcomes, is_last=True)
            except QueueUnavailableError as error:
                if self._clock() - started > self._give_up_s:
                    raise
                logger.warning("cannot record %d results yet: %s", len(outcomes), error)
                self._sleep(SETTLE_RETRY_S)


def _summary(name: str, version: str, claim: Claim, outcomes: list[Outcome], recorded: int) -> dict[str, Any]:
    batches = {outcome.batch_id: outcome.run_us for outcome in outcomes}
    summary = {
        "model": name,
        "version": version,
        "jobs": len(claim.jobs),
        "rows": claim.rows,
        "batches": len(batches),
        "run_ms": round(sum(batches.values()) / 1000, 3),
    }
    failed = sum(1 for outcome in outcomes if outcome.error_code)
    if failed:
        summary["failed"] = failed
    if recorded < len(outcomes):
        summary["dropped"] = len(outcomes) - recorded
    return summary
