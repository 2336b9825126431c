import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from api.waiters import LEAST_WOKEN, RESUBSCRIBE_PAUSE_S, SWEEP_EVERY_S, Waiters
from ferry.errors import QueueUnavailableError
from ferry.jobs import JobRecord, Outcome, State
from ferry.queue.keys import PUBLISH_MAX_BYTES
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS, manifest, submission

pytestmark = pytest.mark.anyio


class Queue(MemoryQueue):
    """The queue in memory whose subscription can break and whose publishes can get lost."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.reads: list[str] = []
        self.many_reads = 0
        self.subscribed = 0
        self.fault: Exception | None = None
        self.loses_news = False

    async def read(self, job_id: str) -> JobRecord | None:
        self.reads.append(job_id)
        return await super().read(job_id)

    async def read_many(self, job_ids: list[str]) -> list[JobRecord | None]:
        self.many_reads += 1
        return [await super(Queue, self).read(job_id) for job_id in job_ids]

    async def settled(self) -> AsyncIterator[Mapping[str, dict[str, Any]] | None]:
        self.subscribed += 1
        async for news in super().settled():
            if self.fault is not None:
                raise self.fault
            yield news

    def _publish(self, news: dict[str, dict[str, Any]]) -> None:
        if not self.loses_news:
            super()._publish(news)

    def break_subscription(self, fault: Exception) -> None:
        self.fault = fault
        super()._publish({"nobody": {}})

    def finish(self, output: bytes = b"out") -> None:
        claim = self.claim("toy", "1", max_rows=1000)
        outcomes = [
            Outcome(job.id, "ticket.1", 1, 1, 42, job.attempt, job.started_us, output=output) for job in claim.jobs
        ]
        self.settle(claim, "toy", "1", outcomes, is_last=True)


@pytest.fixture
async def queue() -> Queue:
    queue = Queue()
    await queue.register(manifest())
    return queue


@pytest.fixture
def waiters(queue: Queue) -> Waiters:
    return Waiters(queue)


@contextmanager
def running(*works: Any) -> Iterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def submitted(queue: Queue) -> str:
    job = submission()
    await queue.submit([job])
    return job.id


def now() -> float:
    return asyncio.get_running_loop().time()


async def soon(what: Any) -> asyncio.Future[Any]:
    """Start something and let it come to where it waits."""
    task = asyncio.ensure_future(what)
    await asyncio.sleep(0.01)
    return task


# --- waiting


async def test_wait_when_there_is_no_job_then_none_at_once(waiters: Waiters) -> None:
    assert await waiters.wait("nosuchjob", 60) is None
    assert now() == 0


async def test_wait_when_it_is_done_already_then_at_once(waiters: Waiters, queue: Queue) -> None:
    job_id = await submitted(queue)
    queue.finish()
    record = await waiters.wait(job_id, 60)
    assert record is not None
    assert (record.state, now()) == (State.SUCCEEDED, 0)


async def test_wait_when_news_comes_then_woken_with_what_it_says_and_no_further_read(
    waiters: Waiters, queue: Queue
) -> None:
    job_id = await submitted(queue)
    with running(waiters.listen()):
        waiting = await soon(waiters.wait(job_id, 60))
        queue.finish(b"result")
        record = await waiting
    assert queue.reads == [job_id]
    assert record == await queue.read(job_id)
    assert record.output == b"result"
    assert now() < 0.1


async def test_wait_when_many_jobs_end_at_once_then_their_waiters_are_woken_in_turns(
    waiters: Waiters, queue: Queue
) -> None:
    jobs = [await submitted(queue) for _ in range(LEAST_WOKEN * 2 + 1)]
    with running(waiters.listen()):
        waiting = [await soon(waiters.wait(job, 60)) for job in jobs]
        queue.finish()
        done_after_each_turn = []
        while not all(each.done() for each in waiting):
            await asyncio.sleep(0)
            done_after_each_turn.append(sum(each.done() for each in waiting))
    assert {*done_after_each_turn} >= {LEAST_WOKEN, LEAST_WOKEN * 2, LEAST_WOKEN * 2 + 1}


async def test_wait_when_the_result_is_too_large_to_be_published_then_read(waiters: Waiters, queue: Queue) -> None:
    job_id, output = await submitted(queue), b"z" * (PUBLISH_MAX_BYTES + 1)
    with running(waiters.listen()):
        waiting = await soon(waiters.wait(job_id, 60))
        queue.finish(output)
        assert (await waiting).output == output
    assert queue.reads == [job_id, job_id]


async def test_wait_when_several_wait_for_one_job_then_all_are_woken(waiters: Waiters, queue: Queue) -> None:
    job_id = await submitted(queue)
    with running(waiters.listen()):
        waiting = [await soon(waiters.wait(job_id, 60)) for _ in range(3)]
        queue.finish()
        records = await asyncio.gather(*waiting)
    assert [record.state for record in records] == [State.SUCCEEDED] * 3


async def test_wait_when_others_finish_then_not_woken(waiters: Waiters, queue: Queue) -> None:
    other, job_id = await submitted(queue), await submitted(queue)
    with running(waiters.listen()):
        waiting = await soon(waiters.wait(job_id, 5))
        await queue.cancel(other)
        assert (await waiting).state is State.QUEUED
    assert now() == pytest.approx(5)


async def test_wait_when_the_time_is_up_then_read_once_more(waiters: Waiters, queue: Queue) -> None:
    job_id = await submitted(queue)
    waiting = await soon(waiters.wait(job_id, 5))
    queue.claim("toy", "1", max_rows=8)
    assert (await waiting).state is State.RUNNING
    assert now() == pytest.approx(5)


async def test_wait_when_the_job_is_forgotten_meanwhile_then_none(waiters: Waiters, queue: Queue) -> None:
    job_id = await submitted(queue)
    waiting = await soon(waiters.wait(job_id, 5))
    del queue.jobs[job_id]
    assert await waiting is None


async def test_wait_when_the_queue_is_down_at_first_then_unavailable(waiters: Waiters, queue: Queue) -> None:
    queue.is_down = True
    with pytest.raises(QueueUnavailableError):
        await waiters.wait("abc", 60)


# --- expecting, and finishing what is expected


async def test_finish_when_the_job_ended_before_anybody_listened_to_the_future_then_no_news_is_missed(
    waiters: Waiters, queue: Queue
) -> None:
    job = submission()
    with running(waiters.listen()), waiters.expecting(job.id) as news:
        await asyncio.sleep(0.01)
        await queue.submit([job])
        record = await queue.read(job.id)
        queue.finish()
        await asyncio.sleep(1)
        assert (await waiters.finish(record, news, 60)).state is State.SUCCEEDED


async def test_finish_when_the_time_is_up_then_the_record_as_it_was(waiters: Waiters, queue: Queue) -> None:
    record = await queue.read(await submitted(queue))
    with waiters.expecting(record.id) as news:
        assert await waiters.finish(record, news, 5) is record


@pytest.mark.parametrize("is_down", [True, False])
async def test_finish_when_the_job_cannot_be_read_then_the_record_as_it_was(
    waiters: Waiters, queue: Queue, is_down: bool
) -> None:
    record = await queue.read(await submitted(queue))
    with waiters.expecting(record.id) as news:
        news.set_result({})
        queue.is_down = is_down
        queue.jobs.clear()
        assert await waiters.finish(record, news, 60) is record


async def test_registry_when_waits_end_in_any_way_then_nothing_is_left(waiters: Waiters, queue: Queue) -> None:
    job_id = await submitted(queue)
    with running(waiters.listen()):
        canceled = await soon(waiters.wait(job_id, 60))
        canceled.cancel()
        await soon(waiters.wait(job_id, 1))
        await waiters.wait("nosuchjob", 1)
        queue.is_down = True
        with pytest.raises(QueueUnavailableError):
            await waiters.wait(job_id, 1)
        queue.is_down = False
        last = await soon(waiters.wait(job_id, 60))
        assert list(waiters._futures) == [job_id]
        queue.finish()
        await last
        await asyncio.sleep(2)
    assert waiters._futures == {}


async def test_registry_when_one_of_two_goes_then_the_other_is_still_woken(waiters: Waiters, queue: Queue) -> None:
    job_id = await submitted(queue)
    with running(waiters.listen()):
        stays, goes = await soon(waiters.wait(job_id, 60)), await soon(waiters.wait(job_id, 60))
        goes.cancel()
        await asyncio.sleep(0.01)
        queue.finish()
        assert (await stays).state is State.SUCCEEDED


# --- sweeping


async def test_sweep_when_a_publish_was_missed_then_caught_within_a_second(waiters: Waiters, queue: Queue) -> None:
    queue.loses_news = True
    jobs = [await submitted(queue) for _ in range(3)]
    with running(waiters.listen(), waiters.sweep_forever()):
        waiting = [await soon(waiters.wait(job_id, 60)) for job_id in jobs]
        queue.finish()
        records = await asyncio.gather(*waiting)
    assert [record.state for record in records] == [State.SUCCEEDED] * 3
    assert now() == pytest.approx(SWEEP_EVERY_S)
    assert queue.many_reads == 1


async def test_sweep_when_nobody_waits_then_nothing_is_read(waiters: Waiters, queue: Queue) -> None:
    with running(waiters.sweep_forever()):
        await asyncio.sleep(10)
    assert queue.many_reads == 0


async def test_sweep_when_jobs_are_unfinished_or_forgotten_then_nobody_is_woken(waiters: Waiters, queue: Queue) -> None:
    with waiters.expecting(await submitted(queue)) as one, waiters.expecting("forgotten") as other:
        await waiters.sweep()
        assert not one.done()
        assert not other.done()


async def test_sweep_forever_when_the_queue_is_down_then_it_goes_on_in_silence(
    waiters: Waiters, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.loses_news = True
    job_id = await submitted(queue)
    with running(waiters.sweep_forever()):
        waiting = await soon(waiters.wait(job_id, 60))
        queue.finish()
        queue.is_down = True
        await asyncio.sleep(10)
        queue.is_down = False
        assert (await waiting).state is State.SUCCEEDED
    assert now() < 10 + 2 * SWEEP_EVERY_S
    assert caplog.records == []


async def test_sweep_forever_when_something_else_fails_then_logged_and_it_goes_on(
    waiters: Waiters, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.loses_news = True
    job_id = await submitted(queue)
    read_many, queue.read_many = queue.read_many, None
    with running(waiters.sweep_forever()):
        waiting = await soon(waiters.wait(job_id, 60))
        queue.finish()
        await asyncio.sleep(3)
        queue.read_many = read_many
        assert (await waiting).state is State.SUCCEEDED
    assert "the sweep over waiting requests failed" in caplog.text


# --- listening


@pytest.mark.parametrize(
    ("fault", "level"), [(QueueUnavailableError("gone"), logging.WARNING), (ValueError("bug"), logging.ERROR)]
)
async def test_listen_when_the_subscription_breaks_then_it_subscribes_again_and_sweeps(
    waiters: Waiters, queue: Queue, caplog: pytest.LogCaptureFixture, fault: Exception, level: int
) -> None:
    job_id = await submitted(queue)
    with running(waiters.listen()):
        waiting = await soon(waiters.wait(job_id, 60))
        queue.break_subscription(fault)
        await asyncio.sleep(0.05)
        queue.fault = None
        queue.finish()  # while nobody listens
        assert (await waiting).state is State.SUCCEEDED
    assert now() < 2 * RESUBSCRIBE_PAUSE_S
    assert (queue.subscribed, queue.many_reads) == (2, 1)
    assert [record.levelno for record in caplog.records] == [level]


async def test_listen_when_the_queue_is_away_then_it_tries_again_and_again(
    waiters: Waiters, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = await submitted(queue)
    queue.is_down = True
    with running(waiters.listen()):
        await asyncio.sleep(10)
        queue.is_down = False
        waiting = await soon(waiters.wait(job_id, 60))
        await asyncio.sleep(RESUBSCRIBE_PAUSE_S)
        queue.finish()
        assert (await waiting).state is State.SUCCEEDED
    assert queue.subscribed == pytest.approx(10 / RESUBSCRIBE_PAUSE_S, abs=2)
    assert "Redis does not answer" in caplog.text


# --- releasing


async def test_release_when_requests_wait_then_each_has_the_job_as_it_stands(waiters: Waiters, queue: Queue) -> None:
    job_id, other = await submitted(queue), await submitted(queue)
    waiting = [await soon(waiters.wait(job_id, 60)) for _ in range(3)]
    queue.claim("toy", "1", max_rows=1)
    record = await queue.read(other)
    with waiters.expecting(other) as news:
        finishing = await soon(waiters.finish(record, news, 60))
        waiters.release()
        assert await finishing is record
    assert [each.state for each in await asyncio.gather(*waiting)] == [State.RUNNING] * 3
    assert now() < 1
    assert waiters._futures == {}


async def test_release_when_a_wait_comes_later_then_it_does_not_wait(waiters: Waiters, queue: Queue) -> None:
    assert not waiters.is_released
    job_id = await submitted(queue)
    waiters.release()
    assert waiters.is_released
    assert (await waiters.wait(job_id, 60)).state is State.QUEUED
    record = await queue.read(job_id)
    with waiters.expecting(job_id) as news:
        assert await waiters.finish(record, news, 60) is record
    assert now() == 0


async def test_release_when_the_job_is_just_being_submitted_then_its_wait_ends_before_it_begins(
    waiters: Waiters, queue: Queue
) -> None:
    job = submission()
    with waiters.expecting(job.id) as news:
        waiters.release()
        await queue.submit([job])
        record = await queue.read(job.id)
        assert await waiters.finish(record, news, 60) is record
    assert now() == 0


async def test_release_when_news_was_there_before_then_the_job_is_done(waiters: Waiters, queue: Queue) -> None:
    record = await queue.read(await submitted(queue))
    with waiters.expecting(record.id) as news:
        news.set_result({"state": State.SUCCEEDED, "output": b"out"})
        waiters.release()
        assert (await waiters.finish(record, news, 60)).output == b"out"


async def test_release_when_the_queue_is_down_then_the_job_as_it_was_last_known(waiters: Waiters, queue: Queue) -> None:
    waiting = await soon(waiters.wait(await submitted(queue), 60))
    queue.is_down = True
    waiters.release()
    assert (await waiting).state is State.QUEUED
