"""What a worker tells of its own work: numbers for Prometheus, and a line in the log per claim.

One thread writes; the thread that is scraped reads whatever stands there, which for counters is early enough.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from ferry import metrics
from ferry.jobs import Claim, Outcome
from ferry.logs import EventLog
from ferry.metrics import Counts, Kind, Labels, Name, Values, one
from ferry.origins import unpack_origin

# Why a claim was run when it was, as ferry_batch_flush_total says it.
FULL = "size"  # it holds what it may
COMPANY = "delay"  # it waited max_wait_ms for more
ALL_THERE_WAS = "idle"  # the worker was free and nothing else waited
FOR_PRIORITY = "priority"  # it has high-priority jobs, and was filled only so far
BY_ITSELF = "retry"  # its job is tried again, alone
BISECTED = "bisect"  # a batch that raised, run in halves
# A log's line names so many jobs; their number is beside it.
MOST_LOGGED = 1000


class Timer:
    """When what happened to one claim. stored_s: what recording it took, where that was not one with the next claim."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._claimed = clock()
        self._stopped = self._ended = self._claimed
        self.waited_s = 0.0
        self._lingered_s: float | None = 0.0
        self.stored_s: float | None = None

    def waited(self) -> None:
        """Say that the wait for company is over."""
        self.waited_s = self._clock() - self._claimed
        self._claimed += self.waited_s

    def stop(self) -> None:
        """Say that all jobs were run."""
        self._stopped = self._clock()

    def stored(self) -> None:
        """Say that all outcomes were recorded."""
        self.stored_s = self._clock() - self._stopped

    def end(self) -> None:
        """Say that the claim is over; where the next one came with the same round trip, its script is included."""
        self._ended = self._clock()

    def lingered(self, seconds: float | None) -> None:
        """Say how much of the time was a wait for the next ticket; None: not known, or Redis was away meanwhile."""
        self._lingered_s = seconds

    @property
    def cost_s(self) -> float | None:
        """From when the last jobs were taken until the claim was over, without the wait for the next ticket.

        None where that is not known.
        """
        return None if self._lingered_s is None else self._ended - self._claimed - self._lingered_s

    @property
    def since_claim_s(self) -> float:
        """From when the last jobs were taken until all were run."""
        return self._stopped - self._claimed


class Watch:
    """One worker's counts; with a `log` a line per claim too."""

    def __init__(self, log: EventLog | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._log = log
        self._clock = clock
        self._numbers: dict[Name, dict[Labels, float]] = {}
        self._counts: dict[Name, dict[Labels, Counts]] = {}
        for name in metrics.FROM_WORKER:
            if name.kind is Kind.HISTOGRAM:
                self._counts[name] = {}
            else:
                self._numbers[name] = {}

    def readings(self) -> list[tuple[Name, Values]]:
        """Return every metric; new dictionaries, since the worker goes on writing into its own."""
        told: list[tuple[Name, Values]] = [(name, dict(values)) for name, values in self._numbers.items()]
        told += [(name, dict(counts)) for name, counts in self._counts.items()]
        return [
            (name, one(1, version("ferry-inference")) if name is metrics.BUILD else values) for name, values in told
        ]

    def start(self) -> Timer:
        """Return the timer of a claim that was taken just now."""
        return Timer(self._clock)

    def ran(
        self, key: tuple[str, str], claim: Claim, outcomes: Sequence[Outcome], *, room: int, reason: str,
        waited_s: float, spent_s: Mapping[str, float], since_claim_s: float,
    ) -> None:  # fmt: skip
        """Count a claim whose jobs were run and settled.

        room: the rows it could have held. waited_s: for company. spent_s: seconds by stage. since_claim_s: from when
        its last jobs were taken until now.
        """
        self._add(metrics.BATCH_SIZE, key, claim.rows)
        self._add(metrics.BATCH_FILL, key, min(1.0, claim.rows / max(1, room)))
        if waited_s > 0:
            self._add(metrics.BATCH_WAIT, key, waited_s)
        for stage, seconds in spent_s.items():
            self._add(metrics.STAGE, (*key, stage), seconds)
        self._count(metrics.BATCH_FLUSH, (*key, reason), 1)
        runs = {outcome.batch_id for outcome in outcomes if outcome.run_us}
        self._count(metrics.EXECUTIONS, key, len(runs))
        self._count(metrics.ROWS, key, claim.rows)
        waits = self._of(metrics.QUEUE_WAIT, key)
        latencies = self._of(metrics.JOB_LATENCY, key)
        last_us = max(job.started_us for job in claim.jobs)
        for job in claim.jobs:
            created_s = job.created_ms / 1e3
            waits.add(max(0.0, job.started_us / 1e6 - created_s))
            latencies.add(max(0.0, last_us / 1e6 - created_s) + since_claim_s)
        if self._log:
            self._log("batch", _line(key, claim, outcomes, reason, spent_s))

    def bisected(self, key: tuple[str, str], runs: int) -> None:
        """Count runs of halves."""
        if runs:
            self._count(metrics.BATCH_FLUSH, (*key, BISECTED), runs)

    def neighbours_checked(self, key: tuple[str, str], result: str, seconds: float) -> None:
        """Count a batch that was run again with other neighbours, and the time that took."""
        self._count(metrics.NEIGHBOUR_CHECKS, (*key, result), 1)
        self._count(metrics.NEIGHBOUR_CHECK_SECONDS, key, seconds)

    def step_done(self, batch: str, step: str, outcome: str, rows: int) -> None:
        """Count a step of a bulk batch."""
        self._count(metrics.STEPS, (outcome,), 1)
        if self._log:
            self._log("step", {"id": batch, "step": step, "outcome": outcome, "rows": rows})

    def _add(self, name: Name, labels: Labels, value: float) -> None:
        self._of(name, labels).add(value)

    def _of(self, name: Name, labels: Labels) -> Counts:
        counts = self._counts[name]
        known = counts.get(labels)
        if known is None:
            known = counts[labels] = Counts(name.buckets)
        return known

    def _count(self, name: Name, labels: Labels, number: float) -> None:
        numbers = self._numbers[name]
        numbers[labels] = numbers.get(labels, 0.0) + number


def _line(
    key: tuple[str, str], claim: Claim, outcomes: Sequence[Outcome], reason: str, spent_s: Mapping[str, float]
) -> dict[str, object]:
    batches = sorted({outcome.batch_id for outcome in outcomes})
    shown = claim.jobs[:MOST_LOGGED]
    origins = [unpack_origin(job.origin, job.id) for job in shown]
    fields: dict[str, object] = {
        "model": ":".join(key), "batch_ids": batches, "jobs": len(claim.jobs), "rows": claim.rows, "reason": reason,
        "failed": sum(1 for outcome in outcomes if outcome.error_code),
        "ms": {stage: round(seconds * 1000, 3) for stage, seconds in spent_s.items()},
        "ids": [job.id for job in shown],
        # Batches have many parents, so a line names the trace of each of its jobs.
        "trace_ids": [origin.trace_id for origin in origins],
    }  # fmt: skip
    if any(job.origin for job in shown):
        fields["request_ids"] = [origin.request_id for origin in origins]
    return fields
