"""Requests that wait for their jobs: one subscription per process wakes them, a sweep catches what it missed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from ferry.errors import QueueUnavailableError
from ferry.jobs import JobRecord
from ferry.queue.grouping import time_out

SWEEP_EVERY_S = 1.0
RESUBSCRIBE_PAUSE_S = 0.2

LEAST_WOKEN = 16

logger = logging.getLogger(__name__)

# What changed of a job, or nothing: then the waiter reads the job itself.
News = Mapping[str, Any]


# None: the wait was called off.
Futures = dict[str, list[asyncio.Future[News | None]]]


class Source(Protocol):
    """What waiting needs of the queue (ferry.queue.producer.Producer)."""

    async def read(self, job_id: str) -> JobRecord | None:
        """Return one job."""

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return many jobs."""

    def settled(self) -> AsyncIterator[Mapping[str, News] | None]:
        """Hear of settled jobs; None once the subscription stands."""


class Waiters:
    """Everyone in this process who waits for a job."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._futures: Futures = {}
        self._is_released = False

    @property
    def is_released(self) -> bool:
        """Whether nobody is let wait any more."""
        return self._is_released

    def release(self) -> None:
        """End all waits now, as if their time were up, and from then on every other before it begins."""
        self._is_released = True
        for futures in self._futures.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)

    def expecting(self, job_id: str) -> "_Expectation":
        """Register before the job can finish, so that no news is missed; the future gets what changed."""
        return _Expectation(self._futures, job_id)

    async def finish(self, record: JobRecord, future: asyncio.Future[News | None], timeout_s: float) -> JobRecord:
        """Wait for a job to become terminal; returns its last known record when the time is up, or at a release."""
        if self._is_released and not future.done():
            return record
        try:
            news = await _first(future, timeout_s)
        except TimeoutError:
            return record
        if news is None:
            return record
        if news:
            record.input = None
            for field, value in news.items():
                setattr(record, field, value)
            return record
        try:
            return await self._source.read(record.id) or record
        except QueueUnavailableError:
            return record  # the job was accepted, which an error would deny

    async def wait(self, job_id: str, timeout_s: float) -> JobRecord | None:
        """Return a job once it is terminal or the time is up; None when there is no such job."""
        with self.expecting(job_id) as future:
            record = await self._source.read(job_id)
            if record is None or record.state.is_terminal:
                return record
            last_known = await self.finish(record, future, timeout_s)
        if last_known.state.is_terminal:
            return last_known
        try:
            return await self._source.read(job_id)
        except QueueUnavailableError:
            if not self._is_released:
                raise
            return last_known  # no client asks a process again that ends

    async def listen(self) -> None:
        """Wake waiters as news comes, for ever; subscribe again whenever Redis was away."""
        while True:
            try:
                async for news in self._source.settled():
                    if news is None:
                        await self.sweep()
                    else:
                        await self._tell_in_turns(news)
            except QueueUnavailableError as error:
                logger.warning("waiting requests hear nothing: %s", error)
            except Exception:
                logger.exception("the subscription to settled jobs failed")
            await asyncio.sleep(RESUBSCRIBE_PAUSE_S)

    async def sweep_forever(self) -> None:
        """Read every awaited job now and then: a publish is delivered at most once."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except QueueUnavailableError:
                pass  # the listener says so already
            except Exception:
                logger.exception("the sweep over waiting requests failed")

    async def sweep(self) -> None:
        """Read all awaited jobs in one round trip and wake those that are done."""
        job_ids = list(self._futures)
        if not job_ids:
            return
        records = await self._source.read_many(job_ids)
        done = {job_id for job_id, record in zip(job_ids, records, strict=True) if record and record.state.is_terminal}
        self._tell({job_id: {} for job_id in done})

    async def _tell_in_turns(self, news: Mapping[str, News]) -> None:
        """Wake an eighth of all waiters a turn of the event loop.

        Then the next jobs of some are on their way to a worker while others still get their answers. All at once, the
        API and the workers would take turns, each idle while the other is busy.
        """
        awaited = [(job_id, changes) for job_id, changes in news.items() if job_id in self._futures]
        n_woken = max(LEAST_WOKEN, len(self._futures) // 8)
        for start in range(0, len(awaited), n_woken):
            if start:
                await asyncio.sleep(0)
            self._tell(dict(awaited[start : start + n_woken]))

    def _tell(self, news: Mapping[str, News]) -> None:
        for job_id, changes in news.items():
            for future in self._futures.get(job_id, ()):
                if not future.done():
                    future.set_result(changes)


class _Expectation:
    """A future of news that is registered while the context lasts."""

    __slots__ = ("_future", "_futures", "_job_id")

    def __init__(self, futures: Futures, job_id: str) -> None:
        self._futures = futures
        self._job_id = job_id
        self._future: asyncio.Future[News | None] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> asyncio.Future[News | None]:
        self._futures.setdefault(self._job_id, []).append(self._future)
        return self._future

    def __exit__(self, *_: object) -> None:
        others = self._futures[self._job_id]
        others.remove(self._future)
        if not others:
            del self._futures[self._job_id]


async def _first(future: asyncio.Future[News | None], timeout_s: float) -> News | None:
    """Return what the future gets. `asyncio.timeout` cancels and counts cancellations; a bare timer is a fifth of it.

    Raises:
        TimeoutError: nothing came in time.
    """
    timer = asyncio.get_running_loop().call_later(timeout_s, time_out, future)
    try:
        return await future
    finally:
        timer.cancel()
