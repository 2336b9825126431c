"""Counters and keys that were made wrong or lost by hand; on a real Redis only, for the one in memory has none."""

import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ferry.jobs import JobClass, JobLimits, State
from ferry.queue.connection import connect, connect_async
from ferry.queue.keys import LOOKED_THROUGH
from ferry.queue.recount import MODELS_EVERY_S, Recount
from ferry.settings import NAMESPACE
from tests.contract.conftest import RedisBench
from tests.manifests import LIMITS, manifest, submission
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio

BACKLOG = KEYS.backlog + "toy:1"


@pytest.fixture
async def bench(redis_url: str, anyio_backend: str) -> AsyncIterator[RedisBench]:
    client, async_client = connect(redis_url, NAMESPACE).redis, connect_async(redis_url, NAMESPACE).redis
    bench = RedisBench(client, async_client, LIMITS)
    await bench.producer.register(manifest())
    bench.worker.beat({("toy", "1"): ""})
    yield bench
    client.close()
    await async_client.aclose(close_connection_pool=True)


def recount(bench: RedisBench, *, slice_size: int = 1000) -> Recount:
    bench.redis.set(KEYS.keeper, "me", px=60_000)
    return Recount(client_of(bench.redis), "me", slice_size=slice_size)


def finish(pass_: Recount) -> int:
    steps = 1
    while pass_.step():
        steps += 1
        assert steps < 1000
    return steps


async def wait_in_all_places(bench: RedisBench) -> tuple[int, int]:
    """Let jobs wait in each class, and one that was claimed before; returns their rows and bytes."""
    rows = 0
    for job_class in JobClass:
        jobs = [submission(n, b"in", job_class=job_class) for n in (1, 2, 3)]
        rows += 6
        await bench.submit(*jobs)
    bench.claim(1)
    bench.age_leases()
    bench.keeper.lapse()
    return rows, 9 * 2


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def counted(bench: RedisBench, key: str = BACKLOG) -> tuple[int, int]:
    rows, size = bench.redis.hmget(key, "rows", "bytes")
    return int(rows or 0), int(size or 0)


@pytest.mark.parametrize("slice_size", [1, 2, 1000])
@pytest.mark.parametrize("wrong", [{"rows": 99, "bytes": 1}, {"rows": 1, "bytes": 10**6}, None])
async def test_recount_when_a_counter_is_wrong_then_right_again_and_said(
    bench: RedisBench, wrong: dict[str, int] | None, slice_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    truth = await wait_in_all_places(bench)
    assert counted(bench) == truth
    for key in (BACKLOG, KEYS.total):
        if wrong is None:
            bench.redis.delete(key)
        else:
            bench.redis.hset(key, mapping=wrong)
    with caplog.at_level(logging.WARNING):
        finish(recount(bench, slice_size=slice_size))
    assert (counted(bench), counted(bench, KEYS.total)) == (truth, truth)
    assert any(record.message.startswith("counter_drift") for record in caplog.records)
    assert int(bench.redis.hget(KEYS.tally, "drift backlog")) >= 1


async def test_recount_when_all_is_right_then_nothing_is_written_or_said(
    bench: RedisBench, caplog: pytest.LogCaptureFixture
) -> None:
    truth = await wait_in_all_places(bench)
    finish(recount(bench, slice_size=2))
    assert counted(bench) == counted(bench, KEYS.total) == truth
    assert bench.redis.hgetall(KEYS.tally) == {}
    assert not caplog.records


async def test_recount_when_nothing_waits_and_a_counter_says_so_then_it_goes(bench: RedisBench) -> None:
    bench.redis.hset(BACKLOG, mapping={"rows": 5, "bytes": 7})
    bench.redis.hset(KEYS.total, mapping={"rows": 5, "bytes": 7})
    finish(recount(bench))
    assert bench.redis.exists(BACKLOG, KEYS.total) == 0


async def test_recount_when_jobs_come_and_go_between_slices_then_the_counter_stays_right(bench: RedisBench) -> None:
    await bench.submit(*(submission() for _ in range(6)))
    pass_ = recount(bench, slice_size=2)
    assert pass_.step()
    bench.settle(bench.claim(3))
    await bench.submit(submission(5))
    finish(pass_)
    assert counted(bench)[0] == 6 - 3 + 5


async def test_recount_when_rows_are_missing_in_a_long_queue_then_tickets_come_at_once(
    bench: RedisBench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.submit(*(submission() for _ in range(6)))
    bench.redis.delete(BACKLOG, KEYS.total)
    bench.lose_tickets()
    with caplog.at_level(logging.WARNING):
        assert recount(bench, slice_size=1).step()
    assert counted(bench)[0] == 6
    assert said(caplog) == ["counter_drift: backlog of toy:1 was wrong by -6 (bytes: +0) and is put right"]
    assert bench.redis.hget(KEYS.tally, "drift backlog") == b"1"


async def test_recount_when_a_counter_was_too_low_then_said_with_a_minus(
    bench: RedisBench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.submit(submission(rows=3, payload=b"in"), submission(rows=3, payload=b"in"))
    for key in (BACKLOG, KEYS.total):
        bench.redis.hset(key, mapping={"rows": 1, "bytes": 9})
    with caplog.at_level(logging.WARNING):
        finish(recount(bench))
    assert said(caplog) == ["counter_drift: backlog of toy:1 was wrong by -5 (bytes: +5) and is put right"]
    assert bench.redis.hget(KEYS.tally, "drift backlog") == b"1"


async def test_recount_when_many_keys_have_nothing_unfinished_then_they_take_no_step(bench: RedisBench) -> None:
    steps = finish(recount(bench))
    bench.redis.zadd(KEYS.api_keys, {f"idle{n}": n for n in range(50)})
    assert finish(recount(bench)) == steps


async def test_recount_when_keys_take_long_then_models_begin_again_meanwhile(bench: RedisBench) -> None:
    await bench.submit(submission(rows=3, payload=b"in"))
    bench.redis.zadd(KEYS.api_keys, {f"busy{n}": n for n in range(50)})
    for n in range(50):
        bench.redis.zadd(f"{KEYS.unfinished}busy{n}", {"gone": 1})
    now = 0.0
    bench.redis.set(KEYS.keeper, "me", px=60_000)
    pass_ = Recount(client_of(bench.redis), "me", clock=lambda: now)
    for _ in range(10):
        assert pass_.step()
    bench.redis.hset(BACKLOG, "rows", 99)
    assert pass_.step()
    assert counted(bench)[0] == 99
    now = MODELS_EVERY_S
    assert pass_.step()
    assert counted(bench)[0] == 3
    finish(pass_)
    assert bench.redis.keys(KEYS.unfinished + "*") == []


async def test_recount_when_ended_jobs_count_against_a_key_then_they_do_no_more(
    bench: RedisBench, caplog: pytest.LogCaptureFixture
) -> None:
    limits = JobLimits("key", max_unfinished=10)
    job = replace(submission(), limits=limits)
    await bench.submit(job)
    bench.redis.zadd(KEYS.api_keys, {"key": 1})
    bench.redis.zadd(KEYS.unfinished + "key", {f"gone{n}": 2e15 for n in range(200)})
    with caplog.at_level(logging.WARNING):
        finish(recount(bench, slice_size=10))
    wrong_by = [int(re.search(r"wrong by (.\d+) ", line)[1]) for line in said(caplog)]  # type: ignore[index]
    assert sum(wrong_by) == 200
    assert bench.redis.hget(KEYS.tally, "drift unfinished") == b"%d" % len(wrong_by)
    assert bench.redis.zrange(KEYS.unfinished + "key", 0, -1) == [job.id.encode()]


async def test_recount_when_another_leads_then_nothing_changes(bench: RedisBench) -> None:
    bench.redis.hset(BACKLOG, mapping={"rows": 5, "bytes": 7})
    pass_ = recount(bench)
    bench.redis.set(KEYS.keeper, "another")
    finish(pass_)
    assert counted(bench) == (5, 7)


async def test_claim_when_records_of_many_overdue_jobs_are_lost_then_it_takes_them_out_and_goes_on(
    bench: RedisBench,
) -> None:
    n_lost = LOOKED_THROUGH + 8
    for n in range(n_lost):
        fields = {"v": 2, "j": f"lost{n}", "n": 2, "b": 3, "d": 1}
        bench.redis.xadd(f"{KEYS.waiting}toy:1:normal", fields)  # type: ignore[arg-type]
    job = submission(payload=b"in")
    await bench.submit(job)
    for key in (BACKLOG, KEYS.total):
        bench.redis.hincrby(key, "rows", 2 * n_lost)
        bench.redis.hincrby(key, "bytes", 3 * n_lost)
    assert bench.claim().jobs == ()
    assert bench.tickets() == 1
    assert [each.id for each in bench.claim().jobs] == [job.id]
    assert bench.redis.exists(BACKLOG, KEYS.total) == 0


async def test_claim_when_deadlines_are_lost_then_the_leader_ends_overdue_jobs_all_the_same(bench: RedisBench) -> None:
    overdue, job = submission(), submission()
    await bench.submit(overdue, job)
    bench.pass_deadline(overdue.id)
    bench.redis.delete(KEYS.deadlines)
    assert [each.id for each in bench.claim().jobs] == [job.id]
    assert bench.keeper.expire() == 1
    assert await bench.state(overdue.id) is State.CANCELED
    assert await bench.state(job.id) is State.RUNNING
