"""How loaded the models are, read from a real Redis: what waits, who serves, what was done in how many runs."""

from collections.abc import AsyncIterator

import pytest

from ferry.jobs import JobClass
from ferry.queue.connection import connect, connect_async
from ferry.queue.load import LoadReader, ModelLoad
from ferry.settings import NAMESPACE
from tests.contract.conftest import RedisBench
from tests.manifests import LIMITS, manifest, submission
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def redis_bench(redis_url: str, anyio_backend: str) -> AsyncIterator[RedisBench]:
    client, async_client = connect(redis_url, NAMESPACE).redis, connect_async(redis_url, NAMESPACE).redis
    bench = RedisBench(client, async_client, LIMITS)
    await bench.producer.register(manifest())
    yield bench
    client.close()
    await async_client.aclose(close_connection_pool=True)


async def toy(bench: RedisBench) -> ModelLoad:
    (only,) = (await LoadReader(client_of(bench.async_redis)).read()).models
    return only


async def test_read_when_jobs_wait_then_their_numbers_rows_and_age(redis_bench: RedisBench) -> None:
    bench = redis_bench
    idle = await toy(bench)
    assert (idle.waiting_rows, idle.oldest_s, idle.workers, idle.jobs_finished) == (0, 0, 0, 0)
    bench.worker.beat({("toy", "1"): ""})
    bench.another_worker_joins("w2")
    bench.redis.zadd(f"{KEYS.live}toy:1", {"dead": 1})
    await bench.submit(submission(rows=3), submission(rows=2, job_class=JobClass.HIGH))
    load = await toy(bench)
    assert load.waiting == {"high": 1, "normal": 1, "bulk": 0, "again": 0}
    assert (load.waiting_rows, load.workers, load.jobs["submitted"]) == (5, 2, 2)
    assert 0 <= load.oldest_s < 60
    bench.redis.xadd(f"{KEYS.waiting}toy:1:bulk", {"v": 2, "j": "old", "n": 1, "b": 0, "d": 0}, id="1000-0")
    assert (await toy(bench)).oldest_s > 1e9


async def test_read_when_jobs_were_run_then_rows_and_runs_counted_once(redis_bench: RedisBench) -> None:
    bench = redis_bench
    bench.worker.beat({("toy", "1"): ""})
    for jobs in (3, 1):
        await bench.submit(*(submission(rows=2) for _ in range(jobs)))
        bench.settle(bench.claim())
    await bench.submit(submission(rows=5))
    bench.settle(bench.claim(), None, error="model_error")
    load = await toy(bench)
    assert (load.rows, load.bulk_rows, load.jobs_finished) == (13, 0, 5)
    assert load.batches == 3
    assert (load.jobs["succeeded"], load.jobs["failed"]) == (4, 1)


async def test_read_when_versions_are_many_then_in_their_order(redis_bench: RedisBench) -> None:
    for version in ("10", "2"):
        await redis_bench.producer.register(manifest(version=version))
    load = await LoadReader(client_of(redis_bench.async_redis)).read()
    assert [each.version for each in load.models] == ["1", "2", "10"]
    assert (load.running_claims, load.dead_letters) == (0, 0)
