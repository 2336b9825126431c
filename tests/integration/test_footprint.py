"""What jobs cost Redis and leave behind (I7, I8), counted on a real one."""

from collections.abc import AsyncIterator

import anyio
import pytest
import redis

from ferry.jobs import Outcome, Submission, new_job_id
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.producer import Limits, Producer
from tests.manifests import manifest
from tests.processes import GIVE_UP_S

pytestmark = pytest.mark.anyio

MODEL = manifest("toy", max_rows=64)
BATCH = 64
PAYLOAD = b"x" * 3136


class Cycle:
    """Submit, claim and settle on one Redis."""

    def __init__(self, url: str, result_ttl_s: float) -> None:
        self.redis = connect(url)
        self.async_redis = connect_async(url)
        limits = Limits(max_waiting_rows=10**6, max_waiting_bytes=2**31, deadline_s=600, result_ttl_s=result_ttl_s)
        self.producer = Producer(self.async_redis, limits)
        self.worker = Consumer(self.redis, worker="w1", lease_s=5)
        self.keeper = Keeper(self.redis, KeeperRules(lease_s=5, max_attempts=3))

    async def submit(self, n_jobs: int) -> list[str]:
        jobs = [Submission(new_job_id(), "toy", "1", 1, PAYLOAD) for _ in range(n_jobs)]
        for start in range(0, n_jobs, BATCH):
            await self.producer.submit(jobs[start : start + BATCH])
        return [job.id for job in jobs]

    def work(self, n_batches: int) -> int:
        done = 0
        for _ in range(n_batches):
            claim = self.worker.claim("toy", "1", max_rows=BATCH)
            outcomes = [
                Outcome(job.id, "t.1", BATCH, BATCH, 100, job.attempt, job.started_us, output=b"y" * 52)
                for job in claim.jobs
            ]
            done += self.worker.settle(claim, "toy", "1", outcomes, is_last=True) if claim.jobs else 0
        return done

    def take_tickets(self) -> int:
        return len(self.redis.lpop("ferry:tickets:toy:1", 1000) or [])

    async def close(self) -> None:
        self.redis.close()
        await self.async_redis.aclose(close_connection_pool=True)


@pytest.fixture
async def cycle(redis_url: str, result_ttl_s: float, anyio_backend: str) -> AsyncIterator[Cycle]:
    cycle = Cycle(redis_url, result_ttl_s)
    await cycle.producer.register(MODEL)
    # A rewrite of the AOF, due at 64 MB of whatever ran before, holds a block of 10 MB that counts as data.
    cycle.redis.config_set("auto-aof-rewrite-percentage", 0)
    yield cycle
    cycle.redis.config_set("auto-aof-rewrite-percentage", 100)
    await cycle.close()


def commands_so_far(client: "redis.Redis") -> int:
    return sum(each["calls"] for name, each in client.info("commandstats").items() if name != "cmdstat_info")


@pytest.mark.parametrize("result_ttl_s", [0.05])
async def test_redis_when_all_jobs_have_expired_then_as_empty_as_before(cycle: Cycle) -> None:
    await cycle.submit(1)
    cycle.work(1)
    cycle.take_tickets()
    await _until_expired(cycle)
    before = keys_of_jobs(cycle)
    ids = await cycle.submit(300)
    await cycle.producer.cancel(ids[0])
    assert cycle.work(3) == 192
    cycle.redis.zadd("ferry:deadlines", dict.fromkeys(ids, 1))
    cycle.keeper.expire()
    cycle.keeper.lapse()
    assert cycle.take_tickets() == 1
    await _until_expired(cycle)
    assert keys_of_jobs(cycle) == before


def keys_of_jobs(cycle: Cycle) -> list[bytes]:
    """Every key but the keeper's lock, which is held whether or not there are jobs."""
    return sorted(key for key in cycle.redis.keys("ferry:*") if key != b"ferry:keeper")


async def _until_expired(cycle: Cycle) -> None:
    with anyio.fail_after(GIVE_UP_S):
        while cycle.redis.keys("ferry:job:*"):  # noqa: ASYNC110  Redis tells nobody of an expiry
            await anyio.sleep(0.02)


@pytest.mark.parametrize("result_ttl_s", [600])
async def test_redis_when_the_backlog_grows_then_work_per_job_stays(cycle: Cycle) -> None:
    cycle.worker.beat([("toy", "1")])
    per_job = []
    for backlog in (64, 640, 6400):
        await cycle.submit(backlog)
        cycle.take_tickets()
        before = commands_so_far(cycle.redis)
        await cycle.submit(10 * BATCH)
        assert cycle.work(10) == 10 * BATCH
        per_job.append((commands_so_far(cycle.redis) - before) / (10 * BATCH))
        assert cycle.take_tickets() == 1
    assert max(per_job) <= 13, per_job
    assert max(per_job) - min(per_job) <= 0.1, per_job


@pytest.mark.parametrize("result_ttl_s", [600])
async def test_redis_when_jobs_are_settled_then_few_bytes_a_job_are_kept(cycle: Cycle) -> None:
    await cycle.submit(64)
    cycle.work(1)
    before = cycle.redis.info("memory")["used_memory_dataset"]
    await cycle.submit(6400)
    assert cycle.work(100) == 6400
    kept = (cycle.redis.info("memory")["used_memory_dataset"] - before) / 6400
    assert kept <= 2000, kept
