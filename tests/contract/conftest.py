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
from ferry.queue import keys
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.dead_letters import DeadLetters
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.producer import Limits, Producer
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS, manifest

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

    def claim(self, max_rows: int = 8, token: str = "") -> Claim:
        return self.worker.claim("toy", "1", max_rows=max_rows, token=token)

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
    def __init__(self, limits: Limits) -> None:
        self.queue = MemoryQueue(limits, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
        self.producer = self.worker = self.keeper = self.admin = self.dead = self.queue

    def announce(self, added: Manifest, profile: Profile | None = None) -> None:
        self.queue.announce(added, profile)

    def tickets(self) -> int:
        return len(self.queue.lanes["toy", "1"].tickets)

    def lose_tickets(self) -> None:
        self.queue.lanes["toy", "1"].tickets.clear()

    def age_leases(self) -> None:
        self.queue.leases = dict.fromkeys(self.queue.leases, 0)

    def pass_deadline(self, job_id: str) -> None:
        job = self.queue.jobs[job_id]
        job.record = replace(job.record, deadline_us=1)

    def fill_memory(self) -> None:
        self.queue.has_memory = False

    def another_worker_joins(self, name: str) -> None:
        own, self.queue.worker = self.queue.worker, name
        self.queue.beat([("toy", "1")])
        self.queue.worker = own


class RedisBench(Bench):
    def __init__(self, client: redis.Redis, async_client: redis.asyncio.Redis, limits: Limits) -> None:
        self.redis = client
        self.producer = Producer(async_client, limits)
        self.worker = Consumer(client, worker="w1", lease_s=LEASE_S)
        self.keeper = Keeper(client, KeeperRules(lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS))
        self.admin = Admin(client)
        self.dead = DeadLetters(async_client, self.producer)

    def announce(self, added: Manifest, profile: Profile | None = None) -> None:
        self.worker.register(added, profile)

    def tickets(self) -> int:
        tickets = self.redis.lrange(keys.TICKETS + "toy:1", 0, -1)
        ids = {json.loads(ticket)["headers"]["id"] for ticket in tickets}
        assert len(ids) == len(tickets)
        return len(tickets)

    def lose_tickets(self) -> None:
        self.redis.delete(keys.TICKETS + "toy:1")

    def age_leases(self) -> None:
        for token in self.redis.zrange(keys.LEASES, 0, -1):
            self.redis.zadd(keys.LEASES, {token: 1})

    def pass_deadline(self, job_id: str) -> None:
        self.redis.hset(keys.JOB + job_id, "deadline_us", 1)
        self.redis.zadd(keys.DEADLINES, {job_id: 1})
        stream = f"{keys.WAITING}toy:1:{JobClass.NORMAL}"
        entries = self.redis.xrange(stream)
        self.redis.delete(stream)
        for entry, fields in entries:
            self.redis.xadd(stream, fields | ({b"d": b"1"} if fields[b"j"].decode() == job_id else {}), id=entry)

    def fill_memory(self) -> None:
        self.redis.set(keys.MEMORY, 1)

    def another_worker_joins(self, name: str) -> None:
        Consumer(self.redis, worker=name, lease_s=LEASE_S).beat([("toy", "1")])


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[MemoryBench | RedisBench]:
    """A queue that knows the model toy:1 (batches of 8 rows) and has one live worker."""
    limits = getattr(request, "limits", LIMITS)
    if request.param == "memory":
        bench: MemoryBench | RedisBench = MemoryBench(limits)
        await bench.producer.register(manifest())
        bench.worker.beat([("toy", "1")])
        yield bench
        return
    url = request.getfixturevalue("redis_url")
    client, async_client = connect(url), connect_async(url)
    bench = RedisBench(client, async_client, limits)
    await bench.producer.register(manifest())
    bench.worker.beat([("toy", "1")])
    yield bench
    client.close()
    await async_client.aclose(close_connection_pool=True)
