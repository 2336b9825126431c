"""What waits for a model, by class, and since when: read in a pipeline beside whatever else is asked of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.client import Pipeline

from ferry.jobs import JobClass
from ferry.queue.keys import Keys

# What waits again after its claim lapsed stands by itself, ahead of every class.
AGAIN = "again"
# Commands of `ask_waiting`.
N_COMMANDS = 2 * len(JobClass) + 2


@dataclass(frozen=True, slots=True)
class Waiting:
    """depths: entries by class, and AGAIN. ages_s: how long the first of each class has waited, 0 where none does."""

    depths: Mapping[str, int]
    ages_s: Mapping[str, float]


def ask_waiting(pipe: Pipeline, keys: Keys, name: str) -> None:
    """Ask for what waits for a model (name:version): N_COMMANDS commands."""
    for job_class in JobClass:
        pipe.xlen(f"{keys.waiting}{name}:{job_class}")
        pipe.xrange(f"{keys.waiting}{name}:{job_class}", count=1)
    pipe.llen(keys.alone + name)
    pipe.llen(keys.steps_alone + name)


def waiting_of(replies: Sequence[Any], now_ms: int) -> Waiting:
    """Return what the replies to `ask_waiting` say; now_ms: by Redis' clock, since 1970."""
    *of_classes, alone, steps_alone = replies
    depths, ages_s = {}, {}
    for job_class, depth, first in zip(JobClass, of_classes[::2], of_classes[1::2], strict=True):
        since_ms = int(first[0][0].split(b"-")[0]) if first else now_ms
        depths[job_class.value] = depth
        ages_s[job_class.value] = max(0, now_ms - since_ms) / 1000
    return Waiting(depths | {AGAIN: alone + steps_alone}, ages_s)
