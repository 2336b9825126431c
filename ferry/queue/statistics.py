"""The numbers of the fleet that stand in Redis, read for Prometheus in two round trips whatever waits.

What the API counts of its requests is added up there too.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, cast

from ferry import metrics
from ferry.metrics import Counts, Labels, Name, Values, one
from ferry.queue import keys
from ferry.queue.broken_models import broken_from_fields
from ferry.queue.clock import steady_us
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.safety import NOEVICTION, NONE, UNKNOWN, RedisSafety, SafetyReader
from ferry.queue.waiting import N_COMMANDS, ask_waiting, waiting_of

# Counters of a model's hash as outcomes of its jobs; what is counted twice there is taken apart in `_finished`.
_OUTCOMES = {
    "succeeded": ("succeeded",), "failed": ("failed", "worker_lost"), "canceled": ("canceled",),
    "expired": ("deadline_exceeded",),
}  # fmt: skip
_SHUT = {"paused": "paused", "draining": "draining"}
# Commands a model, in `_read_models`.
_COMMANDS = N_COMMANDS + 5

Readings = list[tuple[Name, Values]]


def outcomes_of(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many jobs ended in each way, from a model's counters (`ferry.queue.keys.Keys.counts`)."""
    return {outcome: sum(counts.get(field, 0) for field in fields) for outcome, fields in _OUTCOMES.items()}


class Statistics:
    """Reads and adds up; for an event loop."""

    def __init__(self, client: LoopClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._safety = SafetyReader(client)

    async def add(self, counts: Mapping[str, int], sums: Mapping[str, float]) -> None:
        """Add to the counters that belong to no model (`ferry.queue.keys.Keys.tally`).

        Raises:
            QueueUnavailableError: Redis did not answer; whether it counted is not known.
        """
        if not counts and not sums:
            return
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                for field, number in counts.items():
                    pipe.hincrby(self._keys.tally, field, number)
                for field, total in sums.items():
                    pipe.hincrbyfloat(self._keys.tally, field, total)
                await pipe.execute()

    async def read(self) -> Readings:
        """Return every metric that the API tells.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.get(self._keys.clock)
                pipe.smembers(self._keys.models)
                pipe.hgetall(self._keys.tally)
                pipe.zcard(self._keys.dead)
                pipe.zcard(self._keys.leases)
                pipe.zcard(self._keys.batch_ends)
                pipe.info("memory")
                pipe.hgetall(self._keys.broken)
                clock, steps, models, tally, dead, claims, batches, memory, broken = await pipe.execute()
            now_ms = clock[0] * 1000 + clock[1] // 1000
            names = sorted(cast(bytes, model).decode("ascii") for model in models)
            readings = _fleet(dead, claims, batches, memory) + _requests(tally) + _unsafe(await self._safety.read())
            steady_ms = steady_us(clock, steps) // 1000
            readings.append((metrics.MODEL_BROKEN, _broken(broken, steady_ms)))
            return readings + await self._models(names, now_ms, steady_ms - keys.LIVE_MS)

    async def _models(self, names: list[str], now_ms: int, alive_since_ms: int) -> Readings:
        """Read what there is of each model (name:version)."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                ask_waiting(pipe, self._keys, name)
                pipe.hmget(self._keys.backlog + name, ["rows", "bytes"])
                pipe.hgetall(self._keys.counts + name)
                pipe.hmget(self._keys.model + name, list(_SHUT))
                pipe.zrangebyscore(self._keys.live + name, alive_since_ms, "+inf")
                pipe.llen(self._keys.tickets + name)
            replies = await pipe.execute()
        gathered = _Gathered()
        for index, name in enumerate(names):
            gathered.add(name, replies[index * _COMMANDS : (index + 1) * _COMMANDS], now_ms)
        return gathered.readings()


class _Gathered:
    """What was read of all models, by metric."""

    def __init__(self) -> None:
        self._values: dict[Name, dict[Labels, float]] = {
            name: {}
            for name in (
                metrics.JOBS_SUBMITTED, metrics.JOBS_FINISHED, metrics.JOB_RETRIES, metrics.DEAD_LETTERS_MADE,
                metrics.QUEUE_DEPTH, metrics.QUEUE_OLDEST, metrics.QUEUE_ROWS, metrics.QUEUE_BYTES, metrics.QUEUE_SHUT,
                metrics.TICKETS, metrics.WORKERS_LIVE, metrics.WORKER_UP, metrics.MODEL_LOADED, metrics.BULK_ROWS,
            )
        }  # fmt: skip

    def add(self, name: str, replies: list[Any], now_ms: int) -> None:
        """Take in the replies about one model."""
        model, _, its_version = name.rpartition(":")
        labels = (model, its_version)
        waiting = waiting_of(replies[:N_COMMANDS], now_ms)
        backlog, counts, shut, live, tickets = replies[N_COMMANDS:]
        for job_class, depth in waiting.depths.items():
            self._put(metrics.QUEUE_DEPTH, (*labels, job_class), depth)
        for job_class, age_s in waiting.ages_s.items():
            self._put(metrics.QUEUE_OLDEST, (*labels, job_class), age_s)
        self._put(metrics.QUEUE_ROWS, labels, int(backlog[0] or 0))
        self._put(metrics.QUEUE_BYTES, labels, int(backlog[1] or 0))
        self._put(metrics.TICKETS, labels, tickets)
        self._count(labels, {field.decode("ascii"): int(number) for field, number in counts.items()})
        for how, is_set in zip(_SHUT.values(), shut, strict=True):
            self._put(metrics.QUEUE_SHUT, (*labels, how), float(is_set is not None))
        workers = sorted(worker.decode("utf-8") for worker in live)
        self._put(metrics.WORKERS_LIVE, labels, len(workers))
        for worker in workers:
            self._put(metrics.WORKER_UP, (worker,), 1)
            self._put(metrics.MODEL_LOADED, (worker, *labels), 1)

    def _count(self, labels: Labels, counts: Mapping[str, int]) -> None:
        self._put(metrics.JOBS_SUBMITTED, labels, counts.get("submitted", 0))
        for outcome, number in outcomes_of(counts).items():
            self._put(metrics.JOBS_FINISHED, (*labels, outcome), number)
        self._put(metrics.JOB_RETRIES, labels, counts.get("retries", 0))
        self._put(metrics.DEAD_LETTERS_MADE, labels, counts.get("worker_lost", 0))
        for outcome in ("succeeded", "failed"):
            self._put(metrics.BULK_ROWS, (*labels, outcome), counts.get(f"bulk_{outcome}", 0))

    def _put(self, name: Name, labels: Labels, value: float) -> None:
        self._values[name][labels] = float(value)

    def readings(self) -> Readings:
        """Return them all."""
        return list(self._values.items())


def _fleet(dead: int, claims: int, batches: int, memory: Mapping[str, Any]) -> Readings:
    numbers = {
        metrics.DEAD_LETTERS: dead,
        metrics.RUNNING_CLAIMS: claims,
        metrics.BULK_UNDER_WAY: batches,
        metrics.REDIS_MEMORY: memory["used_memory"],
        metrics.REDIS_MEMORY_MAX: memory.get("maxmemory", 0),
    }
    readings: Readings = [(name, one(number)) for name, number in numbers.items()]
    return [*readings, (metrics.BUILD, one(1, version("ferry-inference")))]


def _broken(fields: Mapping[bytes, bytes], steady_ms: int) -> dict[Labels, float]:
    return {each.key: float(each.workers) for each in broken_from_fields(fields, steady_ms)}


def _unsafe(safety: RedisSafety) -> Readings:
    values: dict[Labels, float] = {
        ("maxmemory-policy", safety.eviction): safety.eviction not in (NOEVICTION, UNKNOWN),
        ("persistence", safety.persistence): safety.persistence == NONE,
    }
    return [(metrics.REDIS_UNSAFE, values)]


def _requests(tally: Mapping[bytes, bytes]) -> Readings:
    """Read the counters that belong to no model; what a newer release may count is left out."""
    rejected: dict[Labels, float] = {}
    requests: dict[Labels, float] = {}
    batches: dict[Labels, float] = {}
    drifts: dict[Labels, float] = {}
    connections: dict[Labels, float] = {}
    seconds: dict[Labels, Counts] = {}
    bounds = metrics.REQUEST_SECONDS.buckets
    for raw_field, raw_value in tally.items():
        kind, *words = raw_field.decode("utf-8").split(" ")
        if kind == "rejected" and len(words) == 1:
            rejected[words[0],] = float(raw_value)
        elif kind == "drift" and len(words) == 1:
            drifts[words[0],] = float(raw_value)
        elif kind == "connections" and len(words) == 1:
            connections[words[0],] = float(raw_value)
        elif kind == "batches" and len(words) == 1:
            batches[words[0],] = float(raw_value)
        elif kind == "requests" and len(words) == 3:
            requests[words[0], words[1], words[2]] = float(raw_value)
        elif kind == "seconds" and len(words) == 3 and int(words[2]) <= len(bounds):
            counts = seconds.setdefault((words[0], words[1]), Counts(bounds))
            counts.numbers[int(words[2])] = int(raw_value)
        elif kind == "seconds_sum" and len(words) == 2:
            seconds.setdefault((words[0], words[1]), Counts(bounds)).total = float(raw_value)
    return [
        (metrics.REJECTED, rejected),
        (metrics.CONNECTIONS_CUT, connections),
        (metrics.REQUESTS, requests),
        (metrics.REQUEST_SECONDS, seconds),
        (metrics.BULK_BATCHES, batches),
        (metrics.COUNTER_DRIFTS, drifts),
    ]
