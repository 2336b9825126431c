import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from api.submitter import MAX_GROUP_BYTES, MAX_GROUP_JOBS, Submitter
from ferry.errors import Fault, InvalidInputError, QueueUnavailableError
from ferry.jobs import Receipt, Submission, Verdict
from ferry.queue.grouping import CALL_TIMEOUT_S
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS, manifest, submission

pytestmark = pytest.mark.anyio


class Sink:
    """Takes groups as the queue does; each call lasts a tenth of a second and does what the test says."""

    def __init__(self, *faults: Exception | None) -> None:
        self.groups: list[list[Submission]] = []
        self.faults = list(faults)
        self.receipt: Callable[[Submission], Receipt] = lambda job: Receipt(Verdict.ACCEPTED, 7, job.rows)

    async def submit(self, submissions: Sequence[Submission]) -> list[Receipt]:
        self.groups.append(list(submissions))
        await asyncio.sleep(0.1)
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        return [self.receipt(each) for each in submissions]

    @property
    def sizes(self) -> list[int]:
        return [len(group) for group in self.groups]


def away() -> QueueUnavailableError:
    return QueueUnavailableError("Redis does not answer: the test says so", retry_after_s=1)


async def submit_all(submitter: Submitter, jobs: Sequence[Submission]) -> list[Receipt | BaseException]:
    return await asyncio.gather(*map(submitter.submit, jobs), return_exceptions=True)


# --- groups


async def test_submit_when_alone_then_one_call_and_its_receipt() -> None:
    sink, job = Sink(), submission(rows=3)
    assert await Submitter(sink).submit(job) == Receipt(Verdict.ACCEPTED, 7, 3)
    assert sink.groups == [[job]]


async def test_submit_when_many_ask_at_once_then_few_calls_in_the_order_of_asking() -> None:
    sink, jobs = Sink(), [submission(rows=n) for n in range(1, 101)]
    receipts = await submit_all(Submitter(sink), jobs)
    assert [receipt.waiting for receipt in receipts] == list(range(1, 101))
    assert [each for group in sink.groups for each in group] == jobs
    assert len(sink.groups) <= 2


async def test_submit_when_a_call_is_in_flight_then_what_comes_meanwhile_goes_together_with_the_next() -> None:
    sink = Sink()
    submitter = Submitter(sink)
    first = asyncio.ensure_future(submitter.submit(submission()))
    await asyncio.sleep(0.05)
    later = [asyncio.ensure_future(submitter.submit(submission())) for _ in range(20)]
    await asyncio.gather(first, *later)
    assert sink.sizes == [1, 20]


async def test_submit_when_there_are_more_than_a_group_holds_then_several_groups() -> None:
    sink = Sink()
    await submit_all(Submitter(sink), [submission() for _ in range(MAX_GROUP_JOBS + 5)])
    assert sink.sizes == [MAX_GROUP_JOBS, 5]


async def test_submit_when_payloads_are_large_then_groups_are_small_and_a_huge_one_still_goes() -> None:
    sink, half = Sink(), b"x" * (MAX_GROUP_BYTES // 2)
    jobs = [submission(payload=payload) for payload in (half, half, b"", half * 3, b"")]
    await submit_all(Submitter(sink), jobs)
    assert sink.groups == [jobs[:2], jobs[2:4], jobs[4:]]


async def test_submit_when_the_last_flight_is_over_then_a_new_one_starts() -> None:
    sink = Sink()
    submitter = Submitter(sink)
    for _ in range(3):
        await submitter.submit(submission())
    assert sink.sizes == [1, 1, 1]


async def test_submit_when_verdicts_differ_then_each_caller_gets_its_own() -> None:
    queue = MemoryQueue(replace(LIMITS, max_waiting_rows=5))
    await queue.register(manifest())
    known = submission()
    await queue.submit([known])
    jobs = [known, submission(rows=4), submission(), replace(submission(), model="ghost")]
    receipts = await submit_all(Submitter(queue), jobs)
    assert [receipt.verdict for receipt in receipts] == [
        Verdict.EXISTS, Verdict.ACCEPTED, Verdict.FULL, Verdict.UNREGISTERED,
    ]  # fmt: skip
    assert queue.submit_calls == 2  # the one above and one for all four


# --- callers that go away


async def test_submit_when_a_caller_is_canceled_then_the_others_are_answered_and_its_job_is_sent() -> None:
    sink, jobs = Sink(), [submission() for _ in range(3)]
    submitter = Submitter(sink)
    callers = [asyncio.ensure_future(submitter.submit(job)) for job in jobs]
    await asyncio.sleep(0.05)
    callers[1].cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Receipt, asyncio.CancelledError, Receipt]
    assert [each for group in sink.groups for each in group] == jobs


async def test_submit_when_the_caller_who_began_the_flight_is_canceled_then_it_goes_on() -> None:
    sink = Sink()
    submitter = Submitter(sink)
    first = asyncio.ensure_future(submitter.submit(submission()))
    await asyncio.sleep(0)
    first.cancel()
    assert (await submitter.submit(submission())).verdict is Verdict.ACCEPTED
    assert sum(sink.sizes) == 2


async def test_submit_when_every_caller_is_canceled_and_the_call_fails_then_nobody_is_harmed() -> None:
    sink = Sink(ValueError("broken"))
    submitter = Submitter(sink)
    caller = asyncio.ensure_future(submitter.submit(submission()))
    await asyncio.sleep(0.05)
    caller.cancel()
    await asyncio.sleep(1)
    assert (await submitter.submit(submission())).verdict is Verdict.ACCEPTED


# --- a queue that fails


async def test_submit_when_the_reply_is_lost_then_sent_again_and_one_entry_made() -> None:
    queue = MemoryQueue(LIMITS)
    await queue.register(manifest())
    accept, calls = queue.submit, 0

    async def lose_the_first_reply(submissions: Sequence[Submission]) -> list[Receipt]:
        nonlocal calls
        calls += 1
        receipts = await accept(submissions)
        if calls == 1:
            raise away()
        return receipts

    queue.submit = lose_the_first_reply
    receipt = await Submitter(queue).submit(submission())
    assert (receipt.verdict, receipt.waiting) == (Verdict.EXISTS, 1)
    assert (calls, len(queue.jobs), len(queue.claim("toy", "1", max_rows=8).jobs)) == (2, 1, 1)


async def test_submit_when_the_queue_stays_away_then_every_caller_hears_of_it_in_an_error_of_its_own() -> None:
    sink = Sink(away(), away())
    errors = await submit_all(Submitter(sink), [submission() for _ in range(3)])
    assert [type(error) for error in errors] == [QueueUnavailableError] * 3
    assert len({id(error) for error in errors}) == 3
    assert {(error.detail, error.retry_after_s) for error in errors} == {(away().detail, 1)}
    assert sink.sizes == [3, 3]


async def test_submit_when_an_error_has_faults_then_each_copy_has_them() -> None:
    fault = Fault("no", "#/x")
    (error,) = await submit_all(Submitter(Sink(InvalidInputError("no", faults=(fault,)))), [submission()])
    assert isinstance(error, InvalidInputError)
    assert error.faults == (fault,)


async def test_submit_when_it_fails_for_another_reason_then_not_sent_again_and_every_caller_hears_of_it() -> None:
    sink = Sink(ValueError("broken"))
    errors = await submit_all(Submitter(sink), [submission(), submission()])
    assert [str(error) for error in errors] == ["broken", "broken"]
    assert sink.sizes == [2]


async def test_submit_when_a_group_failed_then_the_next_one_is_not_harmed() -> None:
    submitter = Submitter(Sink(away(), away()))
    await submit_all(submitter, [submission()])
    assert (await submitter.submit(submission())).verdict is Verdict.ACCEPTED


async def test_submit_when_the_queue_is_silent_then_unavailable_after_its_time() -> None:
    sink, began = Sink(), asyncio.get_running_loop().time()
    sink.submit = lambda _: asyncio.sleep(3600)
    with pytest.raises(QueueUnavailableError, match="did not answer in time") as caught:
        await Submitter(sink).submit(submission())
    assert asyncio.get_running_loop().time() - began == pytest.approx(CALL_TIMEOUT_S)
    assert caught.value.retry_after_s == 1
