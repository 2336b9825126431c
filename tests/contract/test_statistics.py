"""The fleet's numbers on a real Redis: what is counted where jobs end, read back as metrics."""

from collections.abc import AsyncIterator

import pytest

from ferry import metrics
from ferry.jobs import JobClass
from ferry.metrics import Labels, Name
from ferry.queue.connection import connect, connect_async
from ferry.queue.statistics import Statistics
from ferry.settings import NAMESPACE
from tests.contract.conftest import MAX_ATTEMPTS, RedisBench
from tests.manifests import LIMITS, manifest, submission
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio
TOY = ("toy", "1")


@pytest.fixture
async def redis_bench(redis_url: str, anyio_backend: str) -> AsyncIterator[RedisBench]:
    client, async_client = connect(redis_url, NAMESPACE).redis, connect_async(redis_url, NAMESPACE).redis
    bench = RedisBench(client, async_client, LIMITS)
    await bench.producer.register(manifest())
    bench.worker.beat({TOY: ""})
    yield bench
    client.close()
    await async_client.aclose(close_connection_pool=True)


async def read(bench: RedisBench) -> dict[tuple[Name, Labels], object]:
    readings = await Statistics(client_of(bench.async_redis)).read()
    assert {name for name, _ in readings} == set(metrics.FROM_API)
    return {(name, labels): value for name, values in readings for labels, value in values.items()}


async def test_read_when_jobs_end_in_every_way_then_each_counts_once(redis_bench: RedisBench) -> None:
    bench = redis_bench
    jobs = [submission() for _ in range(6)]
    await bench.submit(*jobs[:2])
    bench.settle(bench.claim())
    await bench.submit(jobs[2])
    bench.settle(bench.claim(), None, error="model_error")
    await bench.submit(jobs[3])
    await bench.producer.cancel(jobs[3].id)
    await bench.submit(jobs[4])
    bench.pass_deadline(jobs[4].id)
    bench.keeper.expire()
    await bench.submit(jobs[5])
    for _ in range(MAX_ATTEMPTS):
        bench.claim()
        bench.age_leases()
        bench.keeper.lapse()
    told = await read(bench)
    assert told[metrics.JOBS_SUBMITTED, TOY] == 6
    outcomes = {labels[2]: value for (name, labels), value in told.items() if name is metrics.JOBS_FINISHED}
    assert outcomes == {"succeeded": 2, "failed": 2, "canceled": 1, "expired": 1}
    assert told[metrics.JOB_RETRIES, TOY] == MAX_ATTEMPTS - 1
    assert told[metrics.DEAD_LETTERS_MADE, TOY] == told[metrics.DEAD_LETTERS, ()] == 1
    assert told[metrics.QUEUE_ROWS, TOY] == told[metrics.RUNNING_CLAIMS, ()] == 0


async def test_read_when_jobs_wait_then_their_number_rows_and_age_by_priority(redis_bench: RedisBench) -> None:
    bench = redis_bench
    await bench.submit(submission(rows=3), submission(rows=2, job_class=JobClass.HIGH))
    bench.redis.xadd(f"{KEYS.waiting}toy:1:bulk", {"v": 2, "j": "old", "n": 1, "b": 0, "d": 0}, id="1000-0")
    told = await read(bench)
    depths = {labels[2]: value for (name, labels), value in told.items() if name is metrics.QUEUE_DEPTH}
    assert depths == {"high": 1, "normal": 1, "bulk": 1, "again": 0}
    assert told[metrics.QUEUE_ROWS, TOY] == 5
    assert told[metrics.QUEUE_OLDEST, (*TOY, "bulk")] > 1e9
    assert 0 <= told[metrics.QUEUE_OLDEST, (*TOY, "high")] < 1000
    assert told[metrics.TICKETS, TOY] == 1


async def test_read_when_workers_live_then_each_with_what_it_serves_and_a_dead_one_not(redis_bench: RedisBench) -> None:
    bench = redis_bench
    bench.another_worker_joins("w2")
    bench.redis.zadd(f"{KEYS.live}toy:1", {"dead": 1})
    bench.admin.pause(*TOY)
    told = await read(bench)
    assert {labels for name, labels in told if name is metrics.WORKER_UP} == {("w1",), ("w2",)}
    assert told[metrics.MODEL_LOADED, ("w2", *TOY)] == 1
    assert told[metrics.WORKERS_LIVE, TOY] == 2
    shut = {labels[2]: value for (name, labels), value in told.items() if name is metrics.QUEUE_SHUT}
    assert shut == {"paused": 1, "draining": 0}


async def test_add_when_called_by_several_then_summed_and_read_as_metrics(redis_bench: RedisBench) -> None:
    statistics = Statistics(client_of(redis_bench.async_redis))
    for _ in range(2):
        await statistics.add(
            {"requests GET /a 200": 2, "seconds GET /a 3": 2, "rejected rate_limited": 1, "of a newer release": 9},
            {"seconds_sum GET /a": 0.25},
        )
    await statistics.add({}, {})
    told = await read(redis_bench)
    assert told[metrics.REQUESTS, ("GET", "/a", "200")] == 4
    assert told[metrics.REJECTED, ("rate_limited",)] == 2
    seconds = told[metrics.REQUEST_SECONDS, ("GET", "/a")]
    assert (seconds.numbers[3], sum(seconds.numbers), seconds.total) == (4, 4, 0.5)
