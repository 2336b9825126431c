"""How loaded each model is: what waits, who serves it, what was done so far. For an event loop.

Two round trips, whatever waits and however many ask: see `api/load_feed.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ferry.queue import keys
from ferry.queue.clock import steady_us
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.statistics import outcomes_of
from ferry.queue.waiting import N_COMMANDS, ask_waiting, waiting_of

# Commands a model, in `LoadReader.read`.
_COMMANDS = N_COMMANDS + 3


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """One version of a model at one moment.

    waiting: jobs by class, and those that wait again under `again`; a step of a bulk batch counts as one job of class
    bulk. waiting_rows: theirs. oldest_s: how long the first of them has waited, 0 where none waits. workers: alive.
    jobs: since Redis was new, `submitted` and by outcome. rows: of those and of bulk batches; bulk_rows: the latter.
    batches: runs in which rows of jobs shared the model.
    """

    name: str
    version: str
    waiting: Mapping[str, int]
    waiting_rows: int
    oldest_s: float
    workers: int
    jobs: Mapping[str, int]
    rows: int
    bulk_rows: int
    batches: int

    @property
    def jobs_finished(self) -> int:
        """Jobs that ended, however they did."""
        return sum(number for outcome, number in self.jobs.items() if outcome != "submitted")


@dataclass(frozen=True, slots=True)
class Load:
    """The fleet at one moment: microseconds since 1970 by Redis' clock, models in order of name and version."""

    time_us: int
    models: tuple[ModelLoad, ...]
    running_claims: int
    dead_letters: int


class LoadReader:
    """Reads it."""

    def __init__(self, client: LoopClient) -> None:
        self._redis, self._keys = client.redis, client.keys

    async def read(self) -> Load:
        """Return the load now.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.get(self._keys.clock)
                pipe.smembers(self._keys.models)
                pipe.zcard(self._keys.leases)
                pipe.zcard(self._keys.dead)
                clock, steps, models, claims, dead = await pipe.execute()
            time_us = clock[0] * 1_000_000 + clock[1]
            alive_since_ms = steady_us(clock, steps) // 1000 - keys.LIVE_MS
            names = sorted((cast(bytes, model).decode("ascii") for model in models), key=_by_version)
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    ask_waiting(pipe, self._keys, name)
                    pipe.hget(self._keys.backlog + name, "rows")
                    pipe.zcount(self._keys.live + name, alive_since_ms, "+inf")
                    pipe.hgetall(self._keys.counts + name)
                replies = await pipe.execute()
        loads = (
            _model_load(name, replies[index * _COMMANDS : (index + 1) * _COMMANDS], time_us)
            for index, name in enumerate(names)
        )
        return Load(time_us, tuple(loads), claims, dead)


def _by_version(name: str) -> tuple[str, int]:
    model, _, its_version = name.rpartition(":")
    return model, int(its_version)


def _model_load(name: str, replies: list[Any], time_us: int) -> ModelLoad:
    model, _, its_version = name.rpartition(":")
    waiting = waiting_of(replies[:N_COMMANDS], time_us // 1000)
    rows, workers, fields = replies[N_COMMANDS:]
    counts = {field.decode("ascii"): int(number) for field, number in fields.items()}
    return ModelLoad(
        name=model,
        version=its_version,
        waiting=waiting.depths,
        waiting_rows=int(rows or 0),
        oldest_s=max(waiting.ages_s.values()),
        workers=workers,
        jobs={"submitted": counts.get("submitted", 0)} | outcomes_of(counts),
        rows=counts.get("rows", 0),
        bulk_rows=counts.get("bulk_succeeded", 0) + counts.get("bulk_failed", 0),
        batches=counts.get("batches", 0),
    )
