"""What a ticket does: claim, run, settle. Knows the queue and the loaded models, not Celery."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol

from ferry.bulk.batch_records import is_step
from ferry.errors import QueueUnavailableError
from ferry.jobs import Claim, ClaimedJob, Outcome, Turn
from ferry.tensors import Array
from worker.bulk.interludes import ModelKey
from worker.bulk.runner import Alongside, BulkModel, BulkRunner, ServeWaiting, StepSummary
from worker.execution import JobRunner, runner_of
from worker.neighbour_check import Batch, NeighbourCheck
from worker.watch import ALL_THERE_WAS, BY_ITSELF, COMPANY, FOR_PRIORITY, FULL, Timer, Watch

# A ticket continues for this long while there is work: Celery's part of a batch (a message, three events, the hub)
# costs more than a small model's run. Other models and control commands wait at most this long, plus one batch.
TICKET_S = 0.05
# How long it waits for the next ticket. Clients that wait for an answer send the next request sooner.
LINGER_S = 0.005
# A ticket with steps of bulk batches continues for this long: waiting jobs run between the slices of a step.
STEPS_TICKET_S = 1.0
# Flower shows only the first few steps of a ticket.
SHOWN_STEPS = 8
_NOTHING = Claim("", ())
# While Redis does not answer, a finished batch is kept and recording it is retried this often.
SETTLE_RETRY_S = 0.2

logger = logging.getLogger(__name__)


class JobSource(Protocol):
    """What a ticket needs of the queue (ferry.queue.consumer.Consumer)."""

    def claim(
        self, model: str, version: str, *, max_rows: int, beside_high: int | None = None, token: str = "",
        may_be_bulk: bool = True, digest: str = "",
    ) -> Claim:  # fmt: skip
        """Take jobs for the files of a digest, or add to a claim."""

    def settle(self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, is_last: bool) -> int:
        """Record outcomes."""

    def settle_and_claim(
        self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, max_rows: int, wait_s: float,
        beside_high: int | None = None, digest: str = "",
    ) -> Turn:  # fmt: skip
        """Record all outcomes of a claim, wait for the next ticket, and claim again."""


class Leases(Protocol):
    """Renews the lease of a claim while it is held (worker.pulse.Pulse)."""

    def holding(self, token: str) -> AbstractContextManager[None]:
        """Renew the lease of `token` until the context ends."""


class TicketRunner:
    """Serves tickets with the loaded models."""

    def __init__(  # noqa: PLR0913  each is a collaborator; tests replace them one by one
        self,
        source: JobSource,
        leases: Leases,
        models: Callable[[str, str], BulkModel | None],
        *,
        give_up_s: float,
        bulk: BulkRunner | None = None,
        watch: Watch | None = None,
        neighbours: NeighbourCheck | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._leases = leases
        self._models = models
        self._give_up_s = give_up_s
        self._bulk = bulk
        self._watch = watch or Watch()
        self._neighbours = neighbours
        self._sleep = sleep
        self._clock = clock

    def serve(self, ticket_id: str, name: str, version: str) -> dict[str, Any]:
        """Claim and run batch after batch while there is work, for TICKET_S; returns what Flower shows as the result.

        The next ticket is then taken straight from the queue, without Celery's part. A ticket without jobs is normal:
        another worker was faster. Jobs that still wait have tickets of their own.
        """
        summary = TicketSummary(name, version)
        model = self._models(name, version)
        if model is None:
            return summary.shown() | {"note": "not loaded here"}
        numbers = count(1)
        runner = self._runner(ticket_id, (name, version), model, numbers)
        until = self._clock() + TICKET_S
        try:
            claim = self._claim(name, version, model)
        except QueueUnavailableError as error:
            # The keeper sends another ticket once Redis answers. Jobs that were claimed wait again when the lease ends.
            logger.warning("ticket ignored, %s:%s: %s", name, version, error)
            return summary.shown() | {"note": "Redis is away"}
        steps_until = self._clock() + STEPS_TICKET_S
        while claim.jobs:
            if self._bulk and is_step(claim.jobs[0].id):
                serve = self._server(ticket_id, numbers, summary)
                summary.add_step(self._bulk.work(claim, (name, version), model, serve))
                claim = self._claim_more(name, version, model, steps_until)
                continue
            timer = self._watch.start()
            with self._leases.holding(claim.token):
                claim = self._fill(claim, name, version, model, timer)
                outcomes = runner.run(claim.jobs)
                timer.stop()
                if self._clock() < until:
                    recorded, following = self._settle_and_claim(claim, name, version, outcomes, model, timer)
                else:
                    recorded, following = self._settle(claim, name, version, outcomes, timer), _NOTHING
            timer.end()
            summary.add(claim, outcomes, recorded)
            self._tell((name, version), model, claim, outcomes, runner, timer)
            claim = following
        if self._bulk:
            self._bulk.finish()
        if self._neighbours and claim is not _NOTHING:  # the last look found nothing that waits
            self._neighbours.check()
        return summary.shown()

    def _runner(self, ticket_id: str, key: ModelKey, model: BulkModel, numbers: Iterator[int]) -> JobRunner:
        neighbours = self._neighbours
        if neighbours is None:
            return runner_of(model, ticket_id, numbers=numbers)

        def on_batch(jobs: Sequence[ClaimedJob], arrays: list[Array], results: list[Array], run_s: float) -> None:
            neighbours.batch_ran(
                Batch(key, model, [job.id for job in jobs], [job.rows for job in jobs], arrays, results, run_s)
            )

        return runner_of(model, ticket_id, numbers=numbers, on_batch=on_batch)

    def _claim(self, name: str, version: str, model: BulkModel, *, may_be_bulk: bool = True) -> Claim:
        return self._source.claim(
            name, version, max_rows=model.claim_rows, beside_high=model.rows_beside_high, may_be_bulk=may_be_bulk,
            digest=model.digest,
        )  # fmt: skip

    def _claim_more(self, name: str, version: str, model: BulkModel, until: float) -> Claim:
        if self._clock() >= until:
            return _NOTHING
        try:
            return self._claim(name, version, model)
        except QueueUnavailableError as error:
            logger.warning("ticket ended, %s:%s: cannot claim more jobs: %s", name, version, error)
            return _NOTHING

    def _server(self, ticket_id: str, numbers: Iterator[int], summary: "TicketSummary") -> ServeWaiting:
        """Return a function that serves the waiting jobs of a model while a step of a bulk batch runs."""

        def serve(key: ModelKey, until: float, alongside: Alongside | None) -> None:
            model = self._models(*key)
            if model is None:
                return
            runner = self._runner(ticket_id, key, model, numbers)
            while True:
                try:
                    claim = self._claim(*key, model, may_be_bulk=False)
                except QueueUnavailableError as error:
                    logger.warning("waiting jobs for %s:%s stay queued: %s", *key, error)
                    return
                if not claim.jobs:
                    return
                timer = self._watch.start()
                with self._leases.holding(claim.token):
                    outcomes = alongside(runner, claim) if alongside else None
                    if outcomes is None:
                        outcomes = runner.run(claim.jobs)
                    timer.stop()
                    recorded = self._settle(claim, *key, outcomes, timer)
                timer.end()
                summary.add(claim, outcomes, recorded)
                self._tell(key, model, claim, outcomes, runner, timer)
                if self._clock() >= until or claim.rows < claim.room:
                    return

        return serve

    def _tell(
        self, key: ModelKey, model: BulkModel, claim: Claim, outcomes: list[Outcome], runner: JobRunner,
        timer: Timer,
    ) -> None:  # fmt: skip
        """Count and log the jobs of a claim that were run and settled."""
        claim = _ran(claim, outcomes)
        spent, halves = runner.take_spent()
        if timer.stored_s is not None:
            spent["store"] = timer.stored_s
        self._watch.ran(
            key, claim, outcomes, room=claim.room, reason=_reason(claim, timer.waited_s),
            waited_s=timer.waited_s, spent_s=spent, since_claim_s=timer.since_claim_s,
        )  # fmt: skip
        self._watch.bisected(key, halves)
        if not halves and timer.cost_s is not None:
            model.claim_settled(claim.rows, timer.cost_s - spent.get("infer", 0.0))

    def _fill(self, claim: Claim, name: str, version: str, model: BulkModel, timer: Timer) -> Claim:
        """Wait once for more jobs where waiting pays."""
        limits = model.limits
        room = min(limits.max_rows, claim.room) - claim.rows
        if limits.max_wait_ms <= 0 or room <= 0 or claim.is_cut or any(job.attempt > 1 for job in claim.jobs):
            return claim
        self._sleep(limits.max_wait_ms / 1000)
        try:
            more = self._source.claim(name, version, max_rows=room, token=claim.token, digest=model.digest)
        except QueueUnavailableError as error:
            logger.warning("batch runs without more jobs: %s", error)
            return claim
        finally:
            timer.waited()
        return replace(claim, jobs=claim.jobs + more.jobs)

    def _settle_and_claim(
        self, claim: Claim, name: str, version: str, outcomes: list[Outcome], model: BulkModel, timer: Timer
    ) -> tuple[int, Claim]:
        try:
            recorded, following, waited_s = self._source.settle_and_claim(
                claim, name, version, outcomes, max_rows=model.claim_rows, beside_high=model.rows_beside_high,
                wait_s=LINGER_S, digest=model.digest,
            )  # fmt: skip
        except QueueUnavailableError as error:
            logger.warning("cannot record %d results yet: %s", len(outcomes), error)
            timer.lingered(None)
            self._sleep(SETTLE_RETRY_S)
            return self._settle(claim, name, version, outcomes), _NOTHING
        timer.lingered(waited_s)
        return recorded, following

    def _settle(
        self, claim: Claim, name: str, version: str, outcomes: list[Outcome], timer: Timer | None = None
    ) -> int:
        """Record outcomes; retry while Redis does not answer, for `give_up_s`. The work must not be done twice."""
        started = self._clock()
        while True:
            try:
                recorded = self._source.settle(claim, name, version, outcomes, is_last=True)
            except QueueUnavailableError as error:
                if self._clock() - started > self._give_up_s:
                    raise
                logger.warning("cannot record %d results yet: %s", len(outcomes), error)
                if timer:
                    timer.lingered(None)
                self._sleep(SETTLE_RETRY_S)
            else:
                if timer:
                    timer.stored()
                return recorded


def _ran(claim: Claim, outcomes: Sequence[Outcome]) -> Claim:
    """Return a claim without the jobs that have no outcome: they were not run."""
    if len(outcomes) == len(claim.jobs):
        return claim
    done = {outcome.job_id for outcome in outcomes}
    return replace(claim, jobs=tuple(job for job in claim.jobs if job.id in done))


def _reason(claim: Claim, waited_s: float) -> str:
    """Return why a claim was run when it was."""
    if any(job.attempt > 1 for job in claim.jobs):
        return BY_ITSELF
    if claim.is_cut:
        return FOR_PRIORITY
    if claim.rows >= claim.room:
        return FULL
    return COMPANY if waited_s > 0 else ALL_THERE_WAS


@dataclass
class TicketSummary:
    """What a ticket did."""

    model: str
    version: str
    jobs: int = 0
    rows: int = 0
    batches: int = 0
    run_us: int = 0
    failed: int = 0
    dropped: int = 0
    steps: list[StepSummary] = field(default_factory=list)

    def add_step(self, step: StepSummary) -> None:
        """Count a step of a bulk batch."""
        self.steps.append(step)

    def add(self, claim: Claim, outcomes: Sequence[Outcome], recorded: int) -> None:
        """Count a claim that was run and settled."""
        claim = _ran(claim, outcomes)
        runs = {outcome.batch_id: outcome.run_us for outcome in outcomes}
        self.jobs += len(claim.jobs)
        self.rows += claim.rows
        self.batches += len(runs)
        self.run_us += sum(runs.values())
        self.failed += sum(1 for outcome in outcomes if outcome.error_code)
        self.dropped += len(outcomes) - recorded

    def shown(self) -> dict[str, Any]:
        """Return it as Flower shows it, without empty fields."""
        summary: dict[str, Any] = {"model": self.model, "version": self.version, "jobs": self.jobs}
        if self.jobs:
            summary |= {"rows": self.rows, "batches": self.batches, "run_ms": round(self.run_us / 1000, 3)}
        if self.steps:
            summary["bulk"] = [
                f"{step.batch}/{step.step}: {step.outcome}, {step.rows} rows" for step in self.steps[:SHOWN_STEPS]
            ]
            summary["steps"] = len(self.steps)
        if self.failed:
            summary["failed"] = self.failed
        if self.dropped:
            summary["dropped"] = self.dropped
        return summary
