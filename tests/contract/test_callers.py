"""What goes with a job of who sent it: its origin, and the limits of its API key."""

from dataclasses import replace

import pytest

from ferry.jobs import JobLimits, LimitsLeft, State, Submission, Verdict
from tests.contract.conftest import MAX_ATTEMPTS, MemoryBench, RedisBench
from tests.manifests import submission

pytestmark = pytest.mark.anyio
Bench = MemoryBench | RedisBench

ORIGIN = "req-1 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 vendor=a,other=b c"
TWO_AT_ONCE = JobLimits("k1", max_unfinished=2)


def limited(limits: JobLimits = TWO_AT_ONCE) -> Submission:
    return replace(submission(), limits=limits)


async def verdicts(bench: Bench, *jobs: Submission) -> list[Verdict]:
    return [receipt.verdict for receipt in await bench.submit(*jobs)]


async def test_claim_when_jobs_have_an_origin_then_it_comes_with_them_and_when_they_were_made(bench: Bench) -> None:
    known, unknown = replace(submission(), origin=ORIGIN), submission()
    await bench.submit(known, unknown)
    claim = bench.claim()
    assert [job.origin for job in claim.jobs] == [ORIGIN, ""]
    for job in claim.jobs:
        assert job.created_ms == pytest.approx((await bench.record(job.id)).created_us / 1000, abs=1000)


async def test_claim_when_the_first_claim_lapsed_then_origin_and_time_are_the_same(bench: Bench) -> None:
    await bench.submit(replace(submission(), origin=ORIGIN))
    first = bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    again = bench.claim()
    assert again.jobs[0].attempt == 2
    assert again.jobs[0].origin == ORIGIN
    assert again.jobs[0].created_ms == pytest.approx(first.jobs[0].created_ms, abs=1000)


async def test_submit_when_a_key_has_all_it_may_have_under_way_then_refused_and_others_not(bench: Bench) -> None:
    other = JobLimits("k2", max_unfinished=1)
    assert await verdicts(bench, limited(), limited(), limited(), limited(other), submission()) == [
        Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.OVER_UNFINISHED, Verdict.ACCEPTED, Verdict.ACCEPTED,
    ]  # fmt: skip
    (refused,) = await bench.submit(limited())
    assert (refused.verdict, refused.waiting) == (Verdict.OVER_UNFINISHED, 2)


async def test_submit_when_an_accepted_job_comes_again_then_it_is_known_and_costs_nothing(bench: Bench) -> None:
    rate = JobLimits("k1", rate_per_s=1, max_unfinished=1)
    job = limited(rate)
    assert await verdicts(bench, job, job) == [Verdict.ACCEPTED, Verdict.EXISTS]
    assert await verdicts(bench, job) == [Verdict.EXISTS]


@pytest.mark.parametrize("end", ["succeeds", "fails", "canceled", "deleted", "expires", "dies"])
async def test_submit_when_a_job_of_the_key_ends_then_its_place_is_free(bench: Bench, end: str) -> None:
    job = limited(JobLimits("k1", max_unfinished=1))
    await bench.submit(job)
    if end == "succeeds":
        bench.settle(bench.claim())
    elif end == "fails":
        bench.settle(bench.claim(), None, error="model_error")
    elif end == "canceled":
        await bench.producer.cancel(job.id)
    elif end == "deleted":
        await bench.producer.delete(job.id)
    elif end == "expires":
        bench.pass_deadline(job.id)
        bench.keeper.expire()
    else:
        for _ in range(MAX_ATTEMPTS):
            bench.claim()
            bench.age_leases()
            bench.keeper.lapse()
    assert await bench.state(job.id) not in (State.QUEUED, State.RUNNING)
    following = replace(job, id=submission().id)
    assert await verdicts(bench, following) == [Verdict.ACCEPTED]
    bench.settle(bench.claim())
    bench.forget_finished()
    assert bench.leftovers() == []


async def test_submit_when_a_key_sends_faster_than_its_rate_then_a_second_of_it_is_accepted(bench: Bench) -> None:
    rate = JobLimits("k1", rate_per_s=4)
    receipts = await bench.submit(*(limited(rate) for _ in range(6)))
    assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED] * 4 + [Verdict.OVER_RATE] * 2
    assert 0 < receipts[-1].waiting <= 250
    assert await verdicts(bench, limited(JobLimits("k2", rate_per_s=4))) == [Verdict.ACCEPTED]


async def test_submit_when_a_rate_is_below_one_a_second_then_one_at_a_time(bench: Bench) -> None:
    rate = JobLimits("k1", rate_per_s=0.01)
    first, second = await bench.submit(limited(rate), limited(rate))
    assert (first.verdict, second.verdict) == (Verdict.ACCEPTED, Verdict.OVER_RATE)
    assert 90_000 < second.waiting <= 100_000


async def test_submit_when_refused_for_the_queue_then_it_costs_the_key_nothing(bench: Bench) -> None:
    rate = JobLimits("k1", rate_per_s=0.01, max_unfinished=1)
    unknown = replace(limited(rate), model="nobody")
    assert await verdicts(bench, unknown, limited(rate)) == [Verdict.UNREGISTERED, Verdict.ACCEPTED]


async def test_submit_when_a_key_has_limits_then_what_is_left_of_each_is_told(bench: Bench) -> None:
    limits, other = JobLimits("k1", rate_per_s=4, max_unfinished=9), JobLimits("k2", max_unfinished=1)
    first, second, alone, free = await bench.submit(limited(limits), limited(limits), limited(other), submission())
    assert first.left == second.left
    assert first.left is not None
    assert (first.left.rate, first.left.unfinished, first.left.wait_ms) == (2, 7, 0)
    assert alone.left == LimitsLeft(None, 0, 0)
    assert free.left is None
    *_, refused = await bench.submit(*(limited(limits) for _ in range(3)))
    assert refused.verdict is Verdict.OVER_RATE
    assert refused.left is not None
    assert (refused.left.rate, refused.left.unfinished) == (0, 5)
    assert 0 < refused.left.wait_ms <= 250
