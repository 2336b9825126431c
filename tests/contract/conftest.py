"""The queue under test, once in memory and once on real Redis, behind one handle that can age things."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis
import redis.asyncio

from ferry.jobs import Claim, JobClass, JobRecord, Outcome, Receipt, State, Submission
from ferry.manifest import Manifest
from ferry.profile import Profile
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.dead_letters import DeadLetters
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.producer import Limits, Producer
from ferry.queue.records import Heartbeat
from ferry.settings import NAMESPACE
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS, manifest
from tests.namespaces import KEYS, client_of

LEASE_S = 5.0
MAX_ATTEMPTS = 3


class Bench:
    """What the cases do, whatever the queue is made of."""

    producer: Producer | MemoryQueue
    worker: Consumer | MemoryQueue
    keeper: Keeper | MemoryQueue
    admin: Admin | MemoryQueue
    dead: DeadLetters | MemoryQueue

    async def submit(self, *jobs: Submission) -> list[Receipt]:
        return await self.producer.submit(jobs)

    async def state(self, job_id: str) -> State | None:
        record = await self.producer.read(job_id)
        return record.state if record else None

    async def record(self, job_id: str) -> JobRecord:
        record = await self.producer.read(job_id)
        assert record is not None
        return record

    def claim(self, max_rows: int = 8, token: str = "", beside_high: int | None = None) -> Claim:
        return self.worker.claim("toy", "1", max_rows=max_rows, beside_high=beside_high, token=token)

    def announce(self, added: Manifest, profile: Profile | None = None) -> None:
        """Register as a worker does."""
        raise NotImplementedError

    def settle(self, claim: Claim, outputs: bytes | None = b"out", *, is_last: bool = True, error: str = "") -> int:
        outcomes = [
            Outcome(
                job.id,
                "ticket.1",
                claim.rows,
                len(claim.jobs),
                42,
                job.attempt,
                job.started_us,
                output=outputs,
                error_code=error,
                error=error,
            )
            for job in claim.jobs
        ]
        return self.worker.settle(claim, "toy", "1", outcomes, is_last=is_last)


class MemoryBench(Bench):
    """The queue in memory. `forget_finished` lets what is terminal expire; `leftovers` no job needs any more."""

    def __init__(self, limits: Limits) -> None:
        self.queue = MemoryQueue(limits, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
        self.producer = self.worker = self.keeper = self.admin = self.dead = self.queue

    def announce(self, added: Manifest, profile: Profile | None = None) -> None:
        self.queue.announce(added, profile)

    def tickets(self) -> int:
        return len(self.queue.lanes["toy", "1"].tickets)

    def lose_tickets(self) -> None:
        self.queue.lanes["toy", "1"].tickets.clear()

    def age_leases(self, *tokens: str) -> None:
        self.queue.leases |= {token: 0 for token in tokens or self.queue.leases if token in self.queue.leases}

    def forget_finished(self) -> None:
        finished = [job_id for job_id, job in self.queue.jobs.items() if job.record.state.is_terminal]
        for job_id in finished:
            del self.queue.jobs[job_id]
            self.queue.dead.pop(job_id, None)

    def leftovers(self) -> list[str]:
        lanes = self.queue.lanes.values()
        return [*self.queue.jobs, *self.queue.claims, *self.queue.leases, *self.queue.dead] + [
            job_id for lane in lanes for ids in (lane.alone, *lane.waiting.values(), lane.owed) for job_id in ids
        ]

    def pass_deadline(self, job_id: str) -> None:
        job = self.queue.jobs[job_id]
        job.record = replace(job.record, deadline_us=1)

    def fill_memory(self) -> None:
        self.queue.has_memory = False

    def another_worker_joins(self, name: str) -> None:
        self.beat_as(name, {("toy", "1"): ""})

    def beat_as(self, name: str, models: dict[tuple[str, str], str]) -> Heartbeat:
        own, self.queue.worker = self.queue.worker, name
        heard = self.queue.beat(models)
        self.queue.worker = own
        return heard

    def pass_time_since_served(self) -> None:
        self.queue.lanes["toy", "1"].served_ms = 0


class RedisBench(Bench):
    """The queue on a real Redis; as the other."""

    def __init__(self, client: redis.Redis, async_client: redis.asyncio.Redis, limits: Limits) -> None:
        self.redis = client
        self.async_redis = async_client
        self.producer = Producer(client_of(async_client), limits)
        self.worker = Consumer(client_of(client), worker="w1", lease_s=LEASE_S)
        self.keeper = Keeper(client_of(client), KeeperRules(lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS))
        self.admin = Admin(client_of(client))
        self.dead = DeadLetters(client_of(async_client), self.producer)

    def announce(self, added: Manifest, profile: Profile | None = None) -> None:
        self.worker.register(added, profile)

    def tickets(self) -> int:
        tickets = self.redis.lrange(KEYS.tickets + "toy:1", 0, -1)
        ids = {json.loads(ticket)["headers"]["id"] for ticket in tickets}
        assert len(ids) == len(tickets)
        return len(tickets)

    def lose_tickets(self) -> None:
        self.redis.delete(KEYS.tickets + "toy:1")

    def age_leases(self, *tokens: str) -> None:
        for token in tokens or self.redis.zrange(KEYS.leases, 0, -1):
            self.redis.zadd(KEYS.leases, {token: 1}, xx=True)

    def forget_finished(self) -> None:
        for key in self.redis.keys(KEYS.job + "*"):
            if self.redis.hget(key, "state") not in (b"queued", b"running"):
                job_id = key.decode().removeprefix(KEYS.job)
                self.redis.delete(key)
                if self.redis.zrem(KEYS.dead, job_id):
                    self.redis.delete(KEYS.input + job_id)

    def leftovers(self) -> list[str]:
        of_the_model = (
            KEYS.models,
            KEYS.model,
            KEYS.counts,
            KEYS.tally,
            KEYS.live,
            KEYS.tickets,
            KEYS.keeper,
            KEYS.clock,
            KEYS.memory,
        )
        return sorted(key.decode() for key in self.redis.keys("*") if not key.decode().startswith(of_the_model))

    def pass_deadline(self, job_id: str) -> None:
        self.redis.hset(KEYS.job + job_id, "deadline_us", 1)
        self.redis.zadd(KEYS.deadlines, {job_id: 1})
        for job_class in JobClass:
            stream = f"{KEYS.waiting}toy:1:{job_class}"
            entries = self.redis.xrange(stream)
            self.redis.delete(stream)
            for entry, fields in entries:
                self.redis.xadd(stream, fields | ({b"d": b"1"} if fields[b"j"].decode() == job_id else {}), id=entry)

    def fill_memory(self) -> None:
        self.redis.set(KEYS.memory, 1)

    def another_worker_joins(self, name: str) -> None:
        self.beat_as(name, {("toy", "1"): ""})

    def beat_as(self, name: str, models: dict[tuple[str, str], str]) -> Heartbeat:
        return Consumer(client_of(self.redis), worker=name, lease_s=LEASE_S).beat(models)

    def pass_time_since_served(self) -> None:
        self.redis.hset(KEYS.model + "toy:1", "served_ms", 1)


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[MemoryBench | RedisBench]:
    """A queue that knows the model toy:1 (batches of 8 rows) and has one live worker."""
    limits = getattr(request, "limits", LIMITS)
    if request.param == "memory":
        bench: MemoryBench | RedisBench = MemoryBench(limits)
        await bench.producer.register(manifest())
        bench.worker.beat({("toy", "1"): ""})
        yield bench
        return
    url = request.getfixturevalue("redis_url")
    client, async_client = connect(url, NAMESPACE).redis, connect_async(url, NAMESPACE).redis
    bench = RedisBench(client, async_client, limits)
    await bench.producer.register(manifest())
    bench.worker.beat({("toy", "1"): ""})
    yield bench
    client.close()
    await async_client.aclose(close_connection_pool=True)
