"""The queue's rules, on the in-memory twin and on real Redis."""

import asyncio
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ferry.errors import InvalidInputError, NotFoundError
from ferry.jobs import CLASS_SHARE, JobClass, JobRecord, State, Verdict, new_job_id
from ferry.manifest import DEFAULT_MAX_ROWS, ExecutionMode
from ferry.profile import WHOLE_JOB_LIMITS, Tuning
from ferry.queue.keys import PUBLISH_MAX_BYTES, SMALL_INPUT_BYTES
from ferry.queue.producer import MAX_GROUP_READS
from tests.contract.conftest import MAX_ATTEMPTS, MemoryBench, RedisBench
from tests.manifests import LIMITS, manifest, profile, submission
from tests.namespaces import KEYS

pytestmark = pytest.mark.anyio
RANDOM = np.random.default_rng(7).bytes(20_000)
Bench = MemoryBench | RedisBench


async def test_submit_when_new_then_queued_with_its_record(bench: Bench) -> None:
    job = submission(rows=3, payload=b"abc")
    (receipt,) = await bench.submit(job)
    record = await bench.record(job.id)
    assert receipt.verdict is Verdict.ACCEPTED
    assert receipt.waiting == 3
    assert (record.state, record.rows, record.input, record.attempts) == (State.QUEUED, 3, b"abc", 0)
    assert record.created_us == receipt.accepted_us
    assert record.deadline_us - record.created_us == pytest.approx(LIMITS.deadline_s * 1e6, abs=1000)


async def test_submit_when_sent_again_then_one_entry(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    (again,) = await bench.submit(job)
    assert again.verdict is Verdict.EXISTS
    assert len(bench.claim().jobs) == 1
    assert bench.claim().jobs == ()


async def test_submit_when_twice_in_one_call_then_one_entry(bench: Bench) -> None:
    job = submission()
    receipts = await bench.submit(job, job)
    assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED, Verdict.EXISTS]
    assert len(bench.claim().jobs) == 1


async def test_submit_when_full_then_refused_and_others_in_the_call_accepted(bench: Bench) -> None:
    large, small = submission(rows=LIMITS.max_waiting_rows + 1), submission()
    receipts = await bench.submit(large, small)
    assert [receipt.verdict for receipt in receipts] == [Verdict.FULL, Verdict.ACCEPTED]
    assert await bench.state(large.id) is None


async def test_submit_when_bytes_over_limit_then_refused(bench: Bench) -> None:
    (receipt,) = await bench.submit(submission(payload=b"x" * (LIMITS.max_waiting_bytes + 1)))
    assert receipt.verdict is Verdict.FULL


async def test_submit_when_limit_reached_within_one_call_then_the_rest_is_refused(bench: Bench) -> None:
    half = LIMITS.max_waiting_rows // 2
    receipts = await bench.submit(submission(rows=half), submission(rows=half), submission())
    assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.FULL]


async def test_submit_when_model_unknown_then_unregistered(bench: Bench) -> None:
    job = submission()
    other = type(job)(job.id, "other", "1", 1, b"")
    (receipt,) = await bench.submit(other)
    assert receipt.verdict is Verdict.UNREGISTERED


async def test_read_when_unknown_then_none(bench: Bench) -> None:
    assert await bench.producer.read(new_job_id()) is None


async def test_read_when_input_is_large_then_not_echoed_but_claimed_whole(bench: Bench) -> None:
    payload = b"y" * (SMALL_INPUT_BYTES + 1)
    job = submission(payload=payload)
    await bench.submit(job)
    assert (await bench.record(job.id)).input is None
    assert bench.claim().jobs[0].payload == payload


async def test_claim_when_rows_fit_then_first_in_first_out_up_to_max_rows(bench: Bench) -> None:
    jobs = [submission(rows=3) for _ in range(4)]
    await bench.submit(*jobs)
    first, second = bench.claim(max_rows=8), bench.claim(max_rows=8)
    assert [job.id for job in first.jobs] == [job.id for job in jobs[:2]]
    assert [job.id for job in second.jobs] == [job.id for job in jobs[2:]]
    assert first.token != second.token


async def test_claim_when_job_is_larger_than_the_batch_then_it_comes_alone(bench: Bench) -> None:
    small, large, last = submission(), submission(rows=20), submission()
    await bench.submit(small, large, last)
    assert [[job.id for job in bench.claim(max_rows=8).jobs] for _ in range(3)] == [[small.id], [large.id], [last.id]]


async def test_claim_when_classes_wait_then_the_higher_goes_first(bench: Bench) -> None:
    bulk, normal, high = (submission(job_class=each) for each in (JobClass.BULK, JobClass.NORMAL, JobClass.HIGH))
    await bench.submit(bulk, normal, high)
    assert [job.id for job in bench.claim().jobs] == [high.id, normal.id, bulk.id]


async def test_claim_when_nothing_waits_then_empty(bench: Bench) -> None:
    assert bench.claim().jobs == ()


async def test_claim_when_taken_then_running_with_one_attempt(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    claim = bench.claim()
    record = await bench.record(job.id)
    assert claim.jobs[0].attempt == record.attempts == 1
    assert record.state is State.RUNNING
    assert record.started_us is not None


async def test_claim_when_added_to_a_held_claim_then_one_settle_records_all(bench: Bench) -> None:
    first, second = submission(), submission()
    await bench.submit(first)
    claim = bench.claim()
    await bench.submit(second)
    more = bench.claim(max_rows=7, token=claim.token)
    whole = type(claim)(claim.token, claim.jobs + more.jobs)
    assert [job.id for job in whole.jobs] == [first.id, second.id]
    assert bench.settle(whole) == 2
    assert await bench.state(second.id) is State.SUCCEEDED


async def test_claim_when_added_to_a_lapsed_claim_then_empty(bench: Bench) -> None:
    await bench.submit(submission())
    claim = bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    await bench.submit(submission())
    assert bench.claim(token=claim.token).jobs == ()


async def test_submit_when_a_large_one_comes_again_then_its_input_stays_and_no_other_is_kept(bench: Bench) -> None:
    job = submission(payload=np.random.default_rng(7).bytes(SMALL_INPUT_BYTES * 2))
    unknown = replace(job, id=new_job_id(), model="ghost")
    first = await bench.submit(job, job, unknown)
    again = await bench.submit(replace(job, payload=b"\1" + job.payload[1:]))
    assert [each.verdict for each in (*first, *again)] == [
        Verdict.ACCEPTED, Verdict.EXISTS, Verdict.UNREGISTERED, Verdict.EXISTS,
    ]  # fmt: skip
    if isinstance(bench, RedisBench):
        assert bench.redis.keys(f"{KEYS.input}*") == [f"{KEYS.input}{job.id}".encode()]
        assert bench.redis.ttl(KEYS.input + job.id) == -1
    assert bench.claim().jobs[0].payload == job.payload


async def test_claim_when_deadline_has_passed_then_skipped_and_only_the_leader_ends_it(bench: Bench) -> None:
    late, timely = submission(), submission()
    await bench.submit(late, timely)
    bench.pass_deadline(late.id)
    assert [job.id for job in bench.claim().jobs] == [timely.id]
    assert bench.claim().jobs == ()
    assert await bench.state(late.id) is State.QUEUED
    assert bench.keeper.expire() == 1
    record = await bench.record(late.id)
    assert (record.state, record.error_code) == (State.CANCELED, "deadline_exceeded")


async def test_claim_when_a_job_that_waits_again_is_late_then_the_next_one_is_taken(bench: Bench) -> None:
    late, timely = submission(), submission()
    for job in (late, timely):
        await bench.submit(job)
        bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    bench.pass_deadline(late.id)
    assert [job.id for job in bench.claim().jobs] == [timely.id]
    assert bench.claim().jobs == ()
    assert bench.keeper.expire() == 1
    assert await bench.state(late.id) is State.CANCELED


async def test_claim_when_it_only_skips_late_jobs_then_no_ticket_until_the_leader_has_ended_them(bench: Bench) -> None:
    """A worker that a skipping claim sent a ticket would claim again at once, and again."""
    again, late = submission(), submission()
    await bench.submit(again)
    bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    await bench.submit(late)
    for job in (again, late):
        bench.pass_deadline(job.id)
    bench.lose_tickets()
    assert bench.claim().jobs == ()
    assert bench.tickets() == 0
    timely = submission()
    await bench.submit(timely)
    bench.lose_tickets()
    assert bench.keeper.expire() == 2
    assert bench.tickets() == 1
    assert [job.id for job in bench.claim().jobs] == [timely.id]


async def test_settle_and_claim_when_it_waits_for_a_ticket_then_it_says_for_how_long(bench: Bench) -> None:
    await bench.submit(submission(), submission())
    first = bench.claim(1)
    bench.settle(first)
    turn = bench.worker.settle_and_claim(first, "toy", "1", [], max_rows=1, wait_s=30)
    assert len(turn.following.jobs) == 1
    assert turn.waited_s is not None
    assert turn.waited_s < 30
    bench.settle(turn.following)
    bench.lose_tickets()
    turn = bench.worker.settle_and_claim(turn.following, "toy", "1", [], max_rows=1, wait_s=0.05)
    assert turn.following.jobs == ()
    assert turn.waited_s is not None
    assert turn.waited_s >= 0.04


async def test_settle_when_held_then_result_stands_and_input_is_gone(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    assert bench.settle(bench.claim(), b"result") == 1
    record = await bench.record(job.id)
    assert (record.state, record.output, record.input) == (State.SUCCEEDED, b"result", None)
    assert (record.batch_id, record.batch_rows, record.batch_jobs, record.run_us) == ("ticket.1", 1, 1, 42)
    assert record.completed_us is not None


async def test_settle_when_failed_then_code_and_message_stand(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    bench.settle(bench.claim(), None, error="model_error")
    record = await bench.record(job.id)
    assert (record.state, record.error_code, record.output) == (State.FAILED, "model_error", None)


async def test_settle_when_repeated_then_nothing_changes(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    claim = bench.claim()
    bench.settle(claim, b"first")
    before = await bench.record(job.id)
    assert bench.settle(claim, b"second") == 0
    assert await bench.record(job.id) == before


async def test_settle_when_claim_lapsed_then_only_the_new_holder_counts(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    old = bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    new = bench.claim()
    assert bench.settle(old, b"old") == 0
    assert await bench.state(job.id) is State.RUNNING
    assert bench.settle(new, b"new") == 1
    record = await bench.record(job.id)
    assert (record.output, record.attempts) == (b"new", 2)


async def test_settle_when_a_reply_that_added_jobs_was_lost_then_those_wait_again_and_no_attempt_is_charged(
    bench: Bench,
) -> None:
    heard, unheard = submission(), submission(rows=2)
    await bench.submit(heard)
    claim = bench.claim()
    await bench.submit(unheard)
    assert len(bench.claim(token=claim.token).jobs) == 1  # the reply is lost: the holder settles what it knows
    assert bench.settle(claim) == 1
    record = await bench.record(unheard.id)
    assert (record.state, record.attempts) == (State.QUEUED, 0)
    (again,) = bench.claim().jobs
    assert (again.id, again.attempt) == (unheard.id, 1)
    (status,) = await bench.producer.models()
    assert status.waiting_rows == 0


async def test_settle_when_one_was_deleted_and_another_not_run_then_that_one_waits_again(bench: Bench) -> None:
    deleted, not_run = submission(), submission()
    await bench.submit(deleted, not_run)
    claim = bench.claim()
    await bench.producer.delete(deleted.id)
    assert bench.settle(replace(claim, jobs=claim.jobs[:1])) == 0
    record = await bench.record(not_run.id)
    assert (record.state, record.attempts) == (State.QUEUED, 0)
    assert [job.id for job in bench.claim().jobs] == [not_run.id]


async def test_renew_when_held_then_the_claim_does_not_lapse(bench: Bench) -> None:
    await bench.submit(submission())
    claim = bench.claim()
    bench.age_leases()
    assert bench.worker.renew([claim.token, "unknown"]) == {claim.token}
    assert bench.keeper.lapse() == (0, 0)


async def test_renew_when_lapsed_then_refused(bench: Bench) -> None:
    await bench.submit(submission())
    claim = bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    assert bench.worker.renew([claim.token]) == set()


async def test_lapse_when_lease_ended_then_each_job_is_claimed_alone(bench: Bench) -> None:
    jobs = [submission() for _ in range(3)]
    await bench.submit(*jobs)
    bench.claim()
    fresh = submission()
    await bench.submit(fresh)
    bench.age_leases()
    assert bench.keeper.lapse() == (1, 0)
    claims = [bench.claim() for _ in range(4)]
    assert sorted(job.id for claim in claims[:3] for job in claim.jobs) == sorted(job.id for job in jobs)
    assert all(len(claim.jobs) == 1 for claim in claims[:3])
    assert [job.id for job in claims[3].jobs] == [fresh.id]


async def test_lapse_when_attempts_are_used_up_then_worker_lost(bench: Bench) -> None:
    killer, neighbour = submission(), submission()
    await bench.submit(killer, neighbour)
    bench.claim()
    for _ in range(MAX_ATTEMPTS - 1):
        bench.age_leases()
        bench.keeper.lapse()
        claims = [bench.claim(), bench.claim()]
        for claim in claims:
            if claim.jobs and claim.jobs[0].id == neighbour.id:
                bench.settle(claim)
    bench.age_leases()
    bench.keeper.lapse()
    record = await bench.record(killer.id)
    assert (record.state, record.error_code, record.attempts) == (State.FAILED, "worker_lost", MAX_ATTEMPTS)
    assert await bench.state(neighbour.id) is State.SUCCEEDED
    assert bench.claim().jobs == ()


async def test_lapse_when_redis_was_away_then_no_claim_lapses(bench: Bench) -> None:
    await bench.submit(submission())
    claim = bench.claim()
    bench.age_leases()
    assert bench.keeper.lapse(after_outage=True) == (0, 0)
    assert bench.settle(claim) == 1


async def test_lapse_when_nobody_renewed_since_an_outage_then_no_attempt_is_charged(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    for _ in range(MAX_ATTEMPTS + 1):
        assert [claimed.attempt for claimed in bench.claim().jobs] == [1]  # the reply is lost in the outage
        bench.keeper.lapse(after_outage=True)
        bench.age_leases()
        bench.keeper.lapse()
        assert (await bench.record(job.id)).attempts == 0


async def test_lapse_when_the_keeper_is_only_new_then_the_attempt_counts(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    bench.claim()
    bench.age_leases()
    assert bench.keeper.lapse(is_new=True) == (0, 0)  # a lease's time to renew, for who may live
    bench.age_leases()
    bench.keeper.lapse()
    assert (await bench.record(job.id)).attempts == 1


async def test_lapse_when_its_holder_renewed_since_an_outage_then_the_attempt_counts(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    claim = bench.claim()
    bench.keeper.lapse(after_outage=True)
    bench.worker.renew([claim.token])
    bench.age_leases()
    bench.keeper.lapse()
    assert (await bench.record(job.id)).attempts == 1


async def test_cancel_when_waiting_then_never_claimed(bench: Bench) -> None:
    job, other = submission(), submission()
    await bench.submit(job, other)
    assert await bench.producer.cancel(job.id)
    assert [each.id for each in bench.claim().jobs] == [other.id]
    assert await bench.state(job.id) is State.CANCELED


async def test_cancel_when_running_then_the_result_is_dropped(bench: Bench) -> None:
    job, other = submission(), submission()
    await bench.submit(job, other)
    claim = bench.claim()
    await bench.producer.cancel(job.id)
    assert bench.settle(claim) == 1
    assert await bench.state(job.id) is State.CANCELED
    assert await bench.state(other.id) is State.SUCCEEDED


async def test_cancel_when_terminal_then_unchanged(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    bench.settle(bench.claim())
    assert await bench.producer.cancel(job.id)
    assert await bench.state(job.id) is State.SUCCEEDED


async def test_cancel_when_lapsed_and_waiting_again_then_never_claimed(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    await bench.producer.cancel(job.id)
    assert bench.claim().jobs == ()
    assert (await bench.producer.models())[0].waiting_rows == 0


async def test_cancel_when_unknown_then_false(bench: Bench) -> None:
    assert not await bench.producer.cancel(new_job_id())


async def test_expire_when_deadline_passed_then_canceled_waiting_or_running(bench: Bench) -> None:
    running, waiting, timely = submission(rows=8), submission(), submission()
    await bench.submit(running, waiting, timely)
    claim = bench.claim()
    bench.pass_deadline(running.id)
    bench.pass_deadline(waiting.id)
    assert bench.keeper.expire() == 2
    assert bench.keeper.expire() == 0
    assert [await bench.state(job.id) for job in (running, waiting)] == [State.CANCELED] * 2
    assert bench.settle(claim) == 0
    assert [job.id for job in bench.claim().jobs] == [timely.id]


async def test_tickets_when_backlog_grows_then_one_per_batch_up_to_the_workers(bench: Bench) -> None:
    await bench.submit(submission(rows=3))
    assert bench.tickets() == 1
    await bench.submit(*(submission(rows=8) for _ in range(10)))
    assert bench.tickets() == 1
    for name in ("w2", "w3"):
        bench.another_worker_joins(name)
    bench.keeper.lapse()
    assert bench.tickets() == 3


async def test_tickets_when_seven_workers_join_a_backlog_then_each_finds_one_at_its_first_heartbeat(
    bench: Bench,
) -> None:
    await bench.submit(*(submission(rows=8) for _ in range(100)))
    assert bench.tickets() == 1
    for number in range(2, 9):
        bench.another_worker_joins(f"w{number}")
        assert bench.tickets() == number


async def test_tickets_when_claimed_then_topped_up_by_claim_and_settle(bench: Bench) -> None:
    await bench.submit(*(submission(rows=8) for _ in range(3)))
    bench.lose_tickets()
    claim = bench.claim()
    assert bench.tickets() == 1
    bench.lose_tickets()
    bench.settle(claim)
    assert bench.tickets() == 1


async def test_tickets_when_all_are_lost_then_the_keeper_sends_them_again(bench: Bench) -> None:
    await bench.submit(submission())
    bench.lose_tickets()
    assert bench.keeper.lapse() == (0, 1)
    assert bench.tickets() == 1


async def test_tickets_when_nothing_waits_then_none(bench: Bench) -> None:
    await bench.submit(submission())
    bench.settle(bench.claim())
    bench.lose_tickets()
    bench.keeper.lapse()
    assert bench.tickets() == 0


async def test_models_when_a_worker_beats_then_counted_until_it_leaves(bench: Bench) -> None:
    await bench.submit(submission(rows=2))
    (status,) = await bench.producer.models()
    assert (status.manifest, status.live_workers, status.waiting_rows) == (manifest(), 1, 2)
    bench.worker.leave([("toy", "1")])
    assert (await bench.producer.models())[0].live_workers == 0


async def test_beat_when_model_is_unknown_then_named(bench: Bench) -> None:
    assert bench.worker.beat(dict.fromkeys([("toy", "1"), ("ghost", "2")], "")).unknown == {("ghost", "2")}


async def test_settled_when_jobs_end_then_heard_with_what_changed(bench: Bench) -> None:
    done, failed, canceled, large = (submission() for _ in range(4))
    await bench.submit(done, canceled)
    heard: dict[str, dict[str, object]] = {}
    async with asyncio.timeout(10):
        news = bench.producer.settled()
        assert await anext(news) is None
        bench.settle(bench.claim(max_rows=1), b"result")
        await bench.producer.cancel(canceled.id)
        await bench.submit(failed)
        bench.settle(bench.claim(), None, error="model_error")
        await bench.submit(large)
        bench.settle(bench.claim(), b"z" * (PUBLISH_MAX_BYTES + 1))
        while len(heard) < 4:
            heard |= await anext(news) or {}
        await news.aclose()
    record = await bench.record(done.id)
    assert heard[done.id] == {
        name: getattr(record, name)
        for name in (
            "state", "completed_us", "run_us", "batch_id", "batch_rows", "batch_jobs", "output", "started_us",
            "attempts",
        )
    }  # fmt: skip
    assert heard[failed.id]["error_code"] == "model_error"
    assert heard[canceled.id]["state"] is State.CANCELED
    assert heard[large.id] == {}


# --- how a model is batched


async def test_models_when_registered_with_a_profile_then_told_with_the_limits_in_force(bench: Bench) -> None:
    measured = profile(max_rows=4, max_wait_ms=1.5)
    bench.announce(manifest(max_rows=None), measured)
    (status,) = await bench.producer.models()
    assert (status.profile, status.tuning) == (measured, Tuning())
    assert (status.limits.max_rows, status.limits.max_wait_ms) == (4, 1.5)


async def test_models_when_the_manifest_says_a_number_then_it_goes_before_the_profile(bench: Bench) -> None:
    bench.announce(manifest(max_rows=8, max_wait_ms=0.0), profile(max_rows=4, max_wait_ms=1.5))
    (status,) = await bench.producer.models()
    assert (status.limits.max_rows, status.limits.max_wait_ms) == (8, 0.0)


async def test_register_when_nobody_has_measured_then_the_default(bench: Bench) -> None:
    await bench.producer.register(manifest("fresh", max_rows=None))
    fresh = (await bench.producer.models())[0]
    assert (fresh.manifest.name, fresh.limits.max_rows, fresh.profile) == ("fresh", DEFAULT_MAX_ROWS, None)


async def test_register_when_the_api_comes_after_a_worker_then_the_profile_stays(bench: Bench) -> None:
    bench.announce(manifest(max_rows=None), profile(max_rows=4))
    await bench.producer.register(manifest(max_rows=None))
    assert (await bench.producer.models())[0].limits.max_rows == 4


async def test_register_when_measured_anew_without_success_then_no_profile(bench: Bench) -> None:
    bench.announce(manifest(max_rows=None), profile(max_rows=4))
    bench.announce(manifest(max_rows=None))
    status = (await bench.producer.models())[0]
    assert (status.profile, status.limits.max_rows) == (None, DEFAULT_MAX_ROWS)


async def test_tickets_when_measured_then_counted_by_the_measured_rows(bench: Bench) -> None:
    for name in ("w2", "w3", "w4"):
        bench.another_worker_joins(name)
    bench.announce(manifest(max_rows=None), profile(max_rows=4))
    await bench.submit(submission(rows=12))
    assert bench.tickets() == 3


async def test_tune_when_rows_are_fewer_then_more_tickets_at_once_and_workers_hear_of_it(bench: Bench) -> None:
    for name in ("w2", "w3"):
        bench.another_worker_joins(name)
    await bench.submit(submission(rows=6))
    assert bench.tickets() == 1
    limits = bench.admin.tune("toy", "1", Tuning(max_rows=2, max_wait_ms=2.5))
    assert (limits.max_rows, limits.max_wait_ms) == (2, 2.5)
    assert bench.tickets() == 3
    assert bench.worker.beat({("toy", "1"): ""}).tuned == {("toy", "1"): Tuning(2, 2.5)}
    assert (await bench.producer.models())[0].limits == limits


async def test_tune_when_one_number_is_left_out_then_it_stays(bench: Bench) -> None:
    bench.admin.tune("toy", "1", Tuning(max_rows=2))
    bench.admin.tune("toy", "1", Tuning(max_wait_ms=4))
    assert bench.worker.beat({("toy", "1"): ""}).tuned == {("toy", "1"): Tuning(2, 4.0)}


async def test_tune_when_reset_then_as_before_it_was_tuned(bench: Bench) -> None:
    bench.admin.tune("toy", "1", Tuning(max_rows=2, max_wait_ms=4))
    assert bench.admin.tune("toy", "1", Tuning(), is_reset=True).max_rows == 8
    assert bench.worker.beat({("toy", "1"): ""}).tuned == {("toy", "1"): Tuning()}


async def test_tune_when_reset_with_a_number_then_only_that_one_is_tuned(bench: Bench) -> None:
    bench.admin.tune("toy", "1", Tuning(max_rows=2, max_wait_ms=4))
    bench.admin.tune("toy", "1", Tuning(max_rows=3), is_reset=True)
    assert bench.worker.beat({("toy", "1"): ""}).tuned == {("toy", "1"): Tuning(3, None)}


async def test_tune_when_a_worker_registers_again_then_it_stays(bench: Bench) -> None:
    bench.admin.tune("toy", "1", Tuning(max_rows=2))
    bench.announce(manifest(max_rows=None), profile(max_rows=4))
    assert (await bench.producer.models())[0].limits.max_rows == 2


async def test_tune_when_the_model_is_unknown_then_said(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="ghost:1"):
        bench.admin.tune("ghost", "1", Tuning(max_rows=2))


async def test_tune_when_the_batch_axis_is_fixed_then_its_rows_are_refused(bench: Bench) -> None:
    bench.announce(manifest(max_rows=4, fixed_rows=4))
    with pytest.raises(InvalidInputError, match="toy:1 runs 4 rows at a time, not 2"):
        bench.admin.tune("toy", "1", Tuning(max_rows=2))
    assert bench.admin.tune("toy", "1", Tuning(max_wait_ms=3)).max_wait_ms == 3


@pytest.mark.parametrize("tuning", [Tuning(max_rows=2), Tuning(max_wait_ms=1)])
async def test_tune_when_a_job_is_one_run_then_refused_with_the_reason(bench: Bench, tuning: Tuning) -> None:
    bench.announce(manifest("whole", mode=ExecutionMode.WHOLE_JOB))
    with pytest.raises(InvalidInputError, match=r"whole:1 runs one job at a time, .*: a test says so"):
        bench.admin.tune("whole", "1", tuning)
    assert bench.admin.tune("whole", "1", Tuning(), is_reset=True) == WHOLE_JOB_LIMITS


# --- classes


async def test_claim_when_three_classes_wait_then_the_highest_first_and_each_lower_one_gets_its_share(
    bench: Bench,
) -> None:
    jobs = {each: [submission(job_class=each) for _ in range(300)] for each in JobClass}
    class_of = {job.id: each for each, some in jobs.items() for job in some}
    for some in jobs.values():
        await bench.submit(*some)
    claims = [bench.claim(max_rows=8) for _ in range(30)]
    assert {claim.rows for claim in claims} == {8}
    taken = Counter(class_of[job.id] for claim in claims for job in claim.jobs)
    owed = int(30 * 8 * CLASS_SHARE)
    assert taken == {JobClass.BULK: owed, JobClass.NORMAL: owed, JobClass.HIGH: 240 - 2 * owed}
    for claim in claims:
        bench.settle(claim)


@pytest.mark.parametrize(("max_rows", "rows"), [(1, 1), (8, 8), (8, 20)])
async def test_claim_when_a_lower_job_fills_a_claim_then_it_comes_when_a_claim_is_owed(
    bench: Bench, max_rows: int, rows: int
) -> None:
    (low,) = jobs = [submission(rows=rows, job_class=JobClass.BULK)]
    await bench.submit(*jobs, *(submission(job_class=JobClass.NORMAL) for _ in range(300)))
    n_before = 0
    while [job.id for job in bench.claim(max_rows=max_rows).jobs] != [low.id]:
        n_before += 1
        assert n_before < 25
    assert n_before == 19


async def test_claim_when_a_claim_is_added_to_then_nothing_is_owed_for_it(bench: Bench) -> None:
    await bench.submit(submission(job_class=JobClass.NORMAL))
    claim = bench.claim(max_rows=8)
    bulk = submission(job_class=JobClass.BULK)
    await bench.submit(bulk, *(submission(job_class=JobClass.NORMAL) for _ in range(100)))
    added = [bench.claim(max_rows=1, token=claim.token) for _ in range(30)]
    assert [each.rows for each in added] == [1] * 30
    assert await bench.state(bulk.id) is State.QUEUED


@pytest.mark.parametrize(
    ("n_high", "beside_high", "rows"), [(0, 3, 8), (1, 3, 3), (3, 3, 3), (5, 3, 5), (1, None, 8), (1, 20, 8), (9, 1, 8)]
)
async def test_claim_when_it_has_high_priority_jobs_then_others_fill_it_less(
    bench: Bench, n_high: int, beside_high: int | None, rows: int
) -> None:
    high = [submission(job_class=JobClass.HIGH) for _ in range(n_high)]
    await bench.submit(*(submission(job_class=JobClass.NORMAL) for _ in range(20)), *high)
    claim = bench.claim(max_rows=8, beside_high=beside_high)
    assert claim.rows == rows
    assert {job.id for job in claim.jobs} >= {job.id for job in high[:8]}


# --- what a submission says of itself


async def test_submit_when_it_has_a_deadline_of_its_own_then_canceled_by_then(bench: Bench) -> None:
    soon, later = replace(submission(), deadline_s=0.25), submission()
    await bench.submit(soon, later)
    record, other = await bench.record(soon.id), await bench.record(later.id)
    assert record.deadline_us - record.created_us <= 250_000
    assert record.deadline_us - record.created_us > 248_000
    assert other.deadline_us - other.created_us > LIMITS.deadline_s * 1e6 - 2000


async def test_submit_when_the_same_id_and_fingerprint_come_again_then_one_job(bench: Bench) -> None:
    job = replace(submission(), fingerprint="f1")
    verdicts = [receipt.verdict for receipt in (*await bench.submit(job, job), *await bench.submit(job))]
    assert verdicts == [Verdict.ACCEPTED, Verdict.EXISTS, Verdict.EXISTS]
    assert bench.claim().rows == 1


async def test_submit_when_the_fingerprint_is_another_then_said_and_the_job_stays_as_it_is(bench: Bench) -> None:
    job = replace(submission(payload=b"first"), fingerprint="f1")
    other = replace(job, payload=b"other", fingerprint="f2")
    large = replace(other, payload=RANDOM)
    verdicts = [receipt.verdict for receipt in (*await bench.submit(job, other), *await bench.submit(other, large))]
    assert verdicts == [Verdict.ACCEPTED, *[Verdict.DIFFERS] * 3]
    (claimed,) = bench.claim().jobs
    assert claimed.payload == b"first"


# --- dead letters


async def _killer(bench: Bench) -> str:
    """Submit a job whose workers die until it is given up; returns its id."""
    job = submission(rows=2, payload=b"poison", job_class=JobClass.HIGH)
    await bench.submit(job)
    for _ in range(MAX_ATTEMPTS):
        assert [claimed.id for claimed in bench.claim().jobs] == [job.id]
        bench.age_leases()
        bench.keeper.lapse()
    return job.id


async def test_dead_when_given_up_then_listed_with_its_reason(bench: Bench) -> None:
    job_id = await _killer(bench)
    letters, total = await bench.dead.list_dead()
    assert [letter.record for letter in letters] == [await bench.record(job_id)]
    assert (letters[0].record.error_code, letters[0].record.attempts, total) == ("worker_lost", MAX_ATTEMPTS, 1)
    assert letters[0].died_ms * 1000 <= (letters[0].record.completed_us or 0) < (letters[0].died_ms + 1) * 1000
    assert bench.claim().jobs == ()


async def test_dead_when_many_then_the_last_comes_first_in_pages(bench: Bench) -> None:
    ids = [await _killer(bench) for _ in range(3)]
    first_page, total = await bench.dead.list_dead(limit=2)
    second_page, _ = await bench.dead.list_dead(offset=2, limit=2)
    assert (len(first_page), len(second_page), total) == (2, 1, 3)
    assert {letter.record.id for letter in first_page + second_page} == set(ids)


async def test_replay_when_dead_then_a_new_job_with_the_same_input(bench: Bench) -> None:
    job_id = await _killer(bench)
    job = await bench.dead.replay_of(job_id)
    assert job is not None
    assert (job.payload, job.rows, job.job_class, job.replay_of) == (b"poison", 2, JobClass.HIGH, job_id)
    await bench.submit(job)
    assert await bench.dead.retire(job_id)
    assert (await bench.record(job.id)).replay_of == job_id
    (claimed,) = bench.claim().jobs
    assert (claimed.id, claimed.payload, claimed.attempt) == (job.id, b"poison", 1)


async def test_replay_when_sent_twice_then_one_job(bench: Bench) -> None:
    job_id = await _killer(bench)
    first, second = await bench.dead.replay_of(job_id), await bench.dead.replay_of(job_id)
    assert first == second
    assert first is not None
    assert (await bench.submit(first))[0].verdict is Verdict.ACCEPTED
    assert (await bench.submit(first))[0].verdict is Verdict.EXISTS


async def test_retire_when_replayed_then_off_the_list_and_its_record_stays(bench: Bench) -> None:
    job_id = await _killer(bench)
    assert await bench.dead.retire(job_id)
    assert not await bench.dead.retire(job_id)
    assert await bench.dead.list_dead() == ([], 0)
    assert await bench.dead.replay_of(job_id) is None
    assert (await bench.record(job_id)).error_code == "worker_lost"


async def test_replay_when_not_dead_then_none(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    assert await bench.dead.replay_of(job.id) is None
    assert await bench.dead.replay_of(new_job_id()) is None


# --- delete


async def test_delete_when_waiting_then_forgotten_and_never_claimed(bench: Bench) -> None:
    job, other = submission(), submission()
    await bench.submit(job, other)
    assert await bench.producer.delete(job.id)
    assert await bench.state(job.id) is None
    assert [claimed.id for claimed in bench.claim().jobs] == [other.id]
    assert not await bench.producer.delete(job.id)


async def test_delete_when_running_then_its_result_is_dropped_and_its_neighbours_stands(bench: Bench) -> None:
    job, other = submission(), submission()
    await bench.submit(job, other)
    claim = bench.claim()
    await bench.producer.delete(job.id)
    assert bench.settle(claim) == 1
    assert (await bench.state(job.id), await bench.state(other.id)) == (None, State.SUCCEEDED)


async def test_delete_when_its_holder_dies_then_no_trace_comes_back(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    bench.claim()
    await bench.producer.delete(job.id)
    bench.age_leases()
    bench.keeper.lapse()
    assert await bench.state(job.id) is None
    assert bench.claim().jobs == ()


async def test_delete_when_finished_or_dead_then_forgotten(bench: Bench) -> None:
    job = submission()
    await bench.submit(job)
    bench.settle(bench.claim())
    dead = await _killer(bench)
    for job_id in (job.id, dead):
        assert await bench.producer.delete(job_id)
        assert await bench.state(job_id) is None
    assert await bench.dead.list_dead() == ([], 0)


# --- an operator's gates


async def test_pause_when_jobs_wait_then_none_is_claimed_until_resumed(bench: Bench) -> None:
    bench.lose_tickets()
    bench.admin.pause("toy", "1")
    job = submission()
    assert (await bench.submit(job))[0].verdict is Verdict.ACCEPTED
    assert bench.claim().jobs == ()
    assert bench.tickets() == 0
    bench.admin.resume("toy", "1")
    assert bench.tickets() == 1
    assert [claimed.id for claimed in bench.claim().jobs] == [job.id]


async def test_pause_when_a_claim_is_held_then_it_gets_no_company_and_is_settled(bench: Bench) -> None:
    first, second = submission(), submission()
    await bench.submit(first)
    claim = bench.claim()
    await bench.submit(second)
    bench.admin.pause("toy", "1")
    assert bench.claim(token=claim.token).jobs == ()
    assert bench.settle(claim) == 1


async def test_drain_when_jobs_wait_then_they_run_and_no_other_is_taken(bench: Bench) -> None:
    first, second = submission(), submission()
    await bench.submit(first)
    bench.admin.drain("toy", "1")
    assert (await bench.submit(first, second))[0].verdict is Verdict.EXISTS
    assert (await bench.submit(second))[0].verdict is Verdict.DRAINING
    assert [claimed.id for claimed in bench.claim().jobs] == [first.id]
    bench.admin.resume("toy", "1")
    assert (await bench.submit(second))[0].verdict is Verdict.ACCEPTED


async def test_models_when_shut_then_said(bench: Bench) -> None:
    bench.admin.pause("toy", "1")
    bench.admin.drain("toy", "1")
    (status,) = await bench.producer.models()
    assert (status.is_paused, status.is_draining) == (True, True)
    bench.admin.resume("toy", "1")
    (status,) = await bench.producer.models()
    assert (status.is_paused, status.is_draining) == (False, False)


async def test_pause_when_a_worker_registers_again_then_it_stays(bench: Bench) -> None:
    bench.admin.pause("toy", "1")
    bench.announce(manifest())
    assert (await bench.producer.models())[0].is_paused


@pytest.mark.parametrize("gate", ["pause", "drain", "resume"])
async def test_gates_when_the_model_is_unknown_then_said(bench: Bench, gate: str) -> None:
    with pytest.raises(NotFoundError, match="the queue knows no model other:1"):
        getattr(bench.admin, gate)("other", "1")


async def test_purge_when_jobs_wait_run_and_lapsed_then_only_what_waits_is_canceled(bench: Bench) -> None:
    lapsed, running = submission(), submission()
    await bench.submit(lapsed)
    bench.claim()
    bench.age_leases()
    bench.keeper.lapse()
    assert [job.id for job in bench.claim().jobs] == [lapsed.id]
    bench.age_leases()
    bench.keeper.lapse()
    await bench.submit(running)
    waiting = [submission(job_class=each) for each in JobClass for _ in range(3)]
    bench.claim()  # lapsed, alone
    claim = bench.claim()
    assert [job.id for job in claim.jobs] == [running.id]
    await bench.submit(*waiting)
    assert bench.admin.waiting_jobs("toy", "1") == 9
    assert bench.admin.purge("toy", "1") == 9
    assert {await bench.state(job.id) for job in waiting} == {State.CANCELED}
    assert (await bench.record(waiting[0].id)).error == "purged by the operator"
    assert bench.settle(claim) == 1
    assert bench.claim().jobs == ()
    (status,) = await bench.producer.models()
    assert status.waiting_rows == 0


async def test_purge_when_many_wait_then_all_of_them(bench: Bench) -> None:
    await bench.submit(*(submission() for _ in range(700)))
    assert bench.admin.purge("toy", "1") == 700
    assert bench.admin.waiting_jobs("toy", "1") == 0


# --- limits in all


async def test_submit_when_all_models_together_are_full_then_refused_for_each(bench: Bench) -> None:
    await bench.producer.register(manifest("other"))
    per_model, in_all = LIMITS.max_waiting_rows, LIMITS.max_rows_in_all
    full = submission(rows=per_model)
    rest = replace(submission(rows=in_all - per_model), model="other")
    more = replace(submission(), model="other")
    receipts = await bench.submit(full, rest, more)
    assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.FULL_IN_ALL]
    assert receipts[-1].waiting == in_all
    assert (await bench.submit(more))[0].verdict is Verdict.FULL_IN_ALL
    bench.claim()
    assert (await bench.submit(more))[0].verdict is Verdict.ACCEPTED


async def test_submit_when_bytes_of_all_models_are_at_the_limit_then_refused(bench: Bench) -> None:
    for name in ("other", "third"):
        await bench.producer.register(manifest(name))
    half = b"x" * (LIMITS.max_waiting_bytes - 1000)
    others = replace(submission(payload=half), model="other")
    receipts = await bench.submit(submission(payload=half), others)
    assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED, Verdict.ACCEPTED]
    more = replace(submission(payload=b"x" * 3000), model="third")
    assert (await bench.submit(more))[0].verdict is Verdict.FULL_IN_ALL


async def test_submit_when_redis_has_no_room_then_refused_and_known_jobs_are_known(bench: Bench) -> None:
    known, new = submission(), submission()
    await bench.submit(known)
    bench.fill_memory()
    receipts = await bench.submit(known, new)
    assert [receipt.verdict for receipt in receipts] == [Verdict.EXISTS, Verdict.NO_MEMORY]
    assert bench.settle(bench.claim()) == 1


async def test_models_when_jobs_were_settled_then_their_rows_are_counted(bench: Bench) -> None:
    await bench.submit(submission(rows=3), submission(rows=2))
    bench.settle(bench.claim())
    (status,) = await bench.producer.models()
    assert status.done_rows == 5


async def test_read_when_many_poll_at_once_then_few_round_trips_and_each_has_its_own_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [submission(rows=1) for _ in range(300)]
    await bench.submit(*jobs)
    calls: list[int] = []
    if isinstance(bench, RedisBench):
        grouped = bench.producer._reads._call

        async def counted(ids: list[str]) -> list[JobRecord | None]:
            calls.append(len(ids))
            return await grouped(ids)

        monkeypatch.setattr(bench.producer._reads, "_call", counted)
    ids = [job.id for job in jobs] * 7
    records = await asyncio.gather(*map(bench.producer.read, [*ids, "unknown"]))
    assert [record.id if record else None for record in records] == [*ids, None]
    assert sum(calls) in (0, len(ids) + 1)
    assert len(calls) <= 1 + (len(ids) + 1) // MAX_GROUP_READS + 1
