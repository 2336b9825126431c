"""Steps of Redis' clock, on a real Redis whose scripts read a clock that the test moves."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ferry.bulk.batch_records import BatchSpec, Opened
from ferry.bulk.batches import Batches, new_batch_id
from ferry.bulk.files import PURPOSE_BATCH, new_file_id
from ferry.jobs import JobLimits, State, Submission, Verdict
from ferry.queue import scripts
from ferry.queue.clock import ADOPT_S, read_clock, read_clock_async
from ferry.queue.connection import connect, connect_async
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.settings import NAMESPACE
from tests.contract.conftest import LEASE_S, MAX_ATTEMPTS, RedisBench
from tests.manifests import LIMITS, manifest, submission
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio

SHIFT = "test:shift_s"
DAY_S = 25 * 3600
N_JOBS = 20


class SteppedBench(RedisBench):
    """The queue on Redis, and a leader whose own clock the test turns too."""

    now = 1000.0

    def step(self, seconds: float) -> None:
        """Let Redis' clock stand at `seconds` beside its own."""
        self.redis.set(SHIFT, seconds)

    def leader(self) -> Keeper:
        rules = KeeperRules(lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
        return Keeper(client_of(self.redis), rules, clock=lambda: self.now)

    def elect(self) -> Keeper:
        """A new leader in place of the last one."""
        self.redis.delete(KEYS.keeper)
        self.keeper = self.leader()
        assert self.keeper.expire() == 0
        return self.keeper


@pytest.fixture
async def bench(redis_url: str, monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> AsyncIterator[SteppedBench]:
    plain = scripts.script

    def shifted(name: str, keys: object) -> str:
        text = plain(name, keys)
        assert text.count("return t[1] * 1000000 + t[2]") == 1
        return text.replace(
            "return t[1] * 1000000 + t[2]",
            f"return t[1] * 1000000 + t[2] + (redis.call('GET', '{SHIFT}') or 0) * 1000000",
        )

    monkeypatch.setattr(scripts, "script", shifted)
    client, async_client = connect(redis_url, NAMESPACE).redis, connect_async(redis_url, NAMESPACE).redis
    bench = SteppedBench(client, async_client, LIMITS)
    await bench.producer.register(manifest())
    bench.worker.beat({("toy", "1"): ""})
    bench.elect()
    yield bench
    client.close()
    await async_client.aclose(close_connection_pool=True)


async def submit(bench: SteppedBench, n_jobs: int = N_JOBS) -> list[Submission]:
    jobs = [submission() for _ in range(n_jobs)]
    assert {receipt.verdict for receipt in await bench.submit(*jobs)} == {Verdict.ACCEPTED}
    return jobs


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
async def test_step_when_jobs_wait_and_run_then_nothing_ends_before_its_time(
    bench: SteppedBench, step_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = await submit(bench)
    running = bench.claim()
    with caplog.at_level(logging.WARNING):
        for shift in (step_s, 0):  # there, and back again
            bench.step(shift)
            assert bench.keeper.expire() == 0
            assert bench.keeper.lapse() == (0, 0)
            assert bench.worker.renew([running.token]) == {running.token}
    assert [record.message.split(":")[0] for record in caplog.records] == ["clock_step"] * 2
    assert bench.settle(running) == len(running.jobs)
    while claim := bench.claim():
        if not claim.jobs:
            break
        assert all(job.attempt == 1 for job in claim.jobs)
        bench.settle(claim)
    assert {await bench.state(job.id) for job in jobs} == {State.SUCCEEDED}


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
async def test_step_when_it_stays_then_deadlines_and_leases_still_end_in_time(
    bench: SteppedBench, step_s: float
) -> None:
    await submit(bench, 2)
    bench.claim(max_rows=1)
    bench.step(step_s)
    assert bench.keeper.expire() == 0
    bench.now += LEASE_S + 1
    bench.step(step_s + LEASE_S + 1)  # the time goes on on both clocks
    assert bench.keeper.expire() == 0
    assert bench.keeper.lapse() == (1, 0)
    bench.now += LIMITS.deadline_s
    bench.step(step_s + LEASE_S + 1 + LIMITS.deadline_s)
    assert bench.keeper.expire() == 2


async def test_step_when_the_leader_has_not_seen_it_then_claims_only_skip(bench: SteppedBench) -> None:
    (job,) = await submit(bench, 1)
    bench.step(DAY_S)
    assert bench.claim().jobs == ()
    assert await bench.state(job.id) is State.QUEUED
    bench.keeper.expire()
    assert [each.id for each in bench.claim().jobs] == [job.id]


async def test_step_when_a_claim_was_made_before_the_leader_saw_it_then_its_lease_still_ends(
    bench: SteppedBench,
) -> None:
    bench.step(DAY_S)
    await submit(bench, 1)
    assert len(bench.claim().jobs) == 1
    bench.keeper.expire()
    bench.now += LEASE_S + 1
    bench.step(DAY_S + LEASE_S + 1)
    bench.keeper.expire()
    assert bench.keeper.lapse() == (1, 0)


async def test_step_back_when_jobs_come_before_the_leader_saw_it_then_their_deadline_is_whole(
    bench: SteppedBench,
) -> None:
    bench.step(-DAY_S)
    await submit(bench, 3)
    assert bench.keeper.expire() == 0
    assert len(bench.claim().jobs) == 3


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
async def test_step_when_it_was_taken_out_then_workers_are_alive_as_before(bench: SteppedBench, step_s: float) -> None:
    bench.step(step_s)
    bench.worker.beat({("toy", "1"): ""})
    bench.keeper.expire()
    bench.step(0)
    bench.keeper.expire()
    (status,) = await bench.producer.models()
    assert status.live_workers == 1
    bench.now += 60
    bench.step(60)
    bench.keeper.expire()
    assert bench.redis.zcount(KEYS.live + "toy:1", bench.redis.time()[0] * 1000 + 55_000, "+inf") == 0


async def test_step_when_the_next_leader_lives_in_another_process_then_it_knows_the_time(bench: SteppedBench) -> None:
    await submit(bench, 1)
    next_leader = bench.leader()
    assert next_leader.expire() is None
    bench.step(DAY_S)
    bench.redis.delete(KEYS.keeper)
    assert next_leader.expire() == 0
    assert len(bench.claim().jobs) == 1


async def test_step_back_when_nobody_led_meanwhile_then_the_new_leader_goes_on_from_the_last_time(
    bench: SteppedBench,
) -> None:
    await submit(bench, 1)
    bench.step(-DAY_S)
    bench.elect()
    bench.now += LIMITS.deadline_s + 1
    bench.step(-DAY_S + LIMITS.deadline_s + 1)
    assert bench.keeper.expire() == 1


async def test_leader_when_it_died_and_the_clock_went_back_then_its_lock_ends(bench: SteppedBench) -> None:
    bench.redis.pexpire(KEYS.keeper, DAY_S * 1000)
    assert bench.leader().expire() is None
    assert bench.redis.pttl(KEYS.keeper) <= 2000


async def test_leader_when_another_leads_for_long_by_another_time_then_that_one_is_taken_over(
    bench: SteppedBench, caplog: pytest.LogCaptureFixture
) -> None:
    other = bench.leader()
    assert other.expire() is None
    bench.redis.set(KEYS.clock, f"{-3600 * 10**6} 0")  # its machine slept for an hour, the others went on
    for _ in range(3):
        assert other.expire() is None
        bench.now += ADOPT_S
        bench.redis.set(KEYS.clock, f"{-(3600 + ADOPT_S) * 10**6:.0f} 0")
    bench.redis.delete(KEYS.keeper)
    caplog.clear()
    bench.now += 0.01
    assert other.expire() == 0
    assert abs(int(bench.redis.get(KEYS.clock).split()[0])) > 3_000 * 10**6


async def test_rate_when_a_job_came_while_the_clock_was_ahead_then_the_next_ones_are_not_refused_for_long(
    bench: SteppedBench,
) -> None:
    limits = JobLimits("key", rate_per_s=1000.0)
    jobs = [Submission(f"j{n}", "toy", "1", 1, b"in", limits=limits) for n in range(2)]
    bench.step(DAY_S)
    await bench.submit(jobs[0])
    bench.step(0)
    bench.keeper.expire()
    (receipt,) = await bench.submit(jobs[1])
    assert receipt.verdict is Verdict.ACCEPTED or receipt.waiting <= 1002


AT_MOST_2 = JobLimits("key", max_unfinished=2)
UNFINISHED = KEYS.unfinished + "key"


def limited(n_jobs: int) -> list[Submission]:
    return [replace(submission(), limits=AT_MOST_2) for _ in range(n_jobs)]


async def test_step_when_jobs_come_before_the_leader_saw_it_then_the_key_still_has_no_more_than_it_may(
    bench: SteppedBench,
) -> None:
    first = limited(2)
    await bench.submit(*first)
    bench.step(DAY_S)
    receipts = await bench.submit(*limited(2))
    assert {receipt.verdict for receipt in receipts} == {Verdict.OVER_UNFINISHED}
    bench.keeper.expire()
    assert set(bench.redis.zrange(UNFINISHED, 0, -1)) == {job.id.encode() for job in first}


@pytest.mark.parametrize("stays", [True, False])
async def test_step_when_jobs_come_before_the_leader_saw_it_then_they_end_in_their_time(
    bench: SteppedBench, stays: bool
) -> None:
    before = replace(submission(), limits=AT_MOST_2)
    await bench.submit(before)
    bench.step(DAY_S)
    inside = replace(submission(), limits=AT_MOST_2)
    await bench.submit(inside)
    bench.step(DAY_S if stays else 0)
    bench.keeper.expire()
    for place in (KEYS.deadlines, UNFINISHED):
        scores = [bench.redis.zscore(place, job.id) for job in (before, inside)]
        assert scores[1] - scores[0] == pytest.approx(0, abs=10_000)
    bench.now += LIMITS.deadline_s + 10
    bench.step(LIMITS.deadline_s + 10 + (DAY_S if stays else 0))
    assert bench.keeper.expire() == 2
    assert bench.redis.exists(KEYS.unsure) == 0


async def test_step_when_a_batch_comes_before_the_leader_saw_it_then_its_window_is_as_asked_for(
    bench: SteppedBench,
) -> None:
    file_id, window_s = new_file_id(), 3600
    bench.redis.hset(KEYS.file + file_id, mapping={"purpose": PURPOSE_BATCH, "filename": "a.csv", "bytes": 1})
    batches = Batches(client_of(bench.async_redis), max_open=4, ttl_s=60)
    specs = [
        BatchSpec(new_batch_id(), "toy", "1", "/v1/predictions", file_id, window_s, "1h", limits=AT_MOST_2)
        for _ in range(2)
    ]
    assert await batches.open(specs[0]) is Opened.ACCEPTED
    bench.step(DAY_S)
    assert await batches.open(specs[1]) is Opened.ACCEPTED
    bench.keeper.expire()
    for place in (KEYS.batch_ends, UNFINISHED):
        scores = [bench.redis.zscore(place, spec.id) for spec in specs]
        assert scores[1] - scores[0] == pytest.approx(0, abs=10_000)


async def test_read_clock_when_asked_then_time_and_steps_are_of_one_moment(bench: SteppedBench) -> None:
    bench.redis.set(KEYS.clock, "5 7")
    bench.redis.config_resetstat()
    readings = read_clock(bench.redis, KEYS), await read_clock_async(bench.async_redis, KEYS)
    assert [steps for _, steps in readings] == [b"5 7"] * 2
    assert readings[0][0] <= readings[1][0]
    assert bench.redis.info("commandstats")["cmdstat_exec"]["calls"] == 2


async def test_submit_when_nobody_led_for_long_then_the_deadline_counts_from_now(bench: SteppedBench) -> None:
    """Redis was away: this looks like a step until a leader comes, and no job may end early for it."""
    away_s = 2 * LIMITS.deadline_s
    bench.now += away_s
    bench.step(away_s)
    await submit(bench, 1)
    assert bench.keeper.expire() == 0
    bench.now += LIMITS.deadline_s - 1
    bench.step(away_s + LIMITS.deadline_s - 1)
    assert bench.keeper.expire() == 0
    assert len(bench.claim().jobs) == 1
