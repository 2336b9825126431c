"""What a run will do, all of it drawn from the seed: which jobs are sent when, and what is broken in which order."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# Jobs a second; what 2 cores carry beside the parts and whoever else uses them.
PACE = 150.0
# A run lasts at least this long, so that every kind of fault comes while jobs are on their way.
LEAST_SEND_S = 55.0
# Jobs come in bursts of up to this many, so that batches fill.
MOST_IN_A_BURST = 8
# Seconds between a fault's repair and the next fault.
GAP_S = (1.5, 4.0)


class Errand(StrEnum):
    """What a job is sent for, and with it how it may end."""

    ORDINARY = "ordinary"
    RAISES = "raises"
    DEADLINE = "deadline"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One job: `at_s` seconds after the start. `waits`: with `Prefer: wait`, else it is polled."""

    number: int
    at_s: float
    errand: Errand
    n_rows: int
    waits: bool
    urgency: int | None
    cancel_after_ms: int | None


class Kind(StrEnum):
    """What can be broken."""

    WORKER_KILL = "worker SIGKILL"
    TWO_WORKERS_KILL = "two workers SIGKILL"
    WORKER_PAUSE = "worker SIGSTOP"
    WORKER_DRAIN = "worker SIGTERM"
    REDIS_KILL = "Redis SIGKILL"
    REDIS_PAUSE = "Redis SIGSTOP"
    API_KILL = "API SIGKILL"
    CUT_CLIENTS = "CLIENT KILL normal"
    CUT_SUBSCRIBERS = "CLIENT KILL pubsub"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """One fault: `gap_s` after the one before it was repaired; `dice` decides its details."""

    kind: Kind
    gap_s: float
    dice: random.Random


def send_s(n_jobs: int) -> float:
    """Return for how long so many jobs are being sent."""
    return max(LEAST_SEND_S, n_jobs / PACE)


def plan_jobs(n_jobs: int, seed: int) -> list[JobPlan]:
    """Return the jobs of a run in the order in which they are sent."""
    dice = random.Random(f"jobs {seed}")
    moments: list[float] = []
    at_s = 0.0
    while len(moments) < n_jobs:
        burst = min(dice.randint(1, MOST_IN_A_BURST), n_jobs - len(moments))
        moments += [at_s] * burst
        at_s += dice.expovariate(1.0) * burst
    scale = send_s(n_jobs) / at_s
    return [_job(dice, number, moment * scale) for number, moment in enumerate(moments)]


def _job(dice: random.Random, number: int, at_s: float) -> JobPlan:
    errand = dice.choices(list(Errand), [94, 2, 2, 2])[0]
    return JobPlan(
        number=number,
        at_s=at_s,
        errand=errand,
        n_rows=_n_rows(dice),
        waits=errand is not Errand.CANCEL and dice.random() < 0.4,
        urgency=dice.choices([None, 0, 7], [80, 10, 10])[0],
        cancel_after_ms=dice.randint(10, 800) if errand is Errand.DEADLINE else None,
    )


def _n_rows(dice: random.Random) -> int:
    """Return mostly one row, now and then more than one run takes, rarely so many that the input travels apart."""
    share = dice.random()
    if share < 0.70:
        return 1
    if share < 0.95:
        return dice.randint(2, 12)
    return dice.randint(17, 60) if share < 0.99 else dice.randint(1_500, 3_000)


def plan_faults(seed: int) -> Iterator[FaultPlan]:
    """Yield faults without end, in rounds of every kind once, each round shuffled anew."""
    dice = random.Random(f"faults {seed}")
    while True:
        kinds = list(Kind)
        dice.shuffle(kinds)
        for kind in kinds:
            yield FaultPlan(kind, dice.uniform(*GAP_S), random.Random(dice.random()))
