"""Gathers concurrent submits into one script call. One call is in flight; what comes meanwhile goes with the next."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from api.waiters import time_out
from ferry.errors import FerryError, QueueUnavailableError
from ferry.jobs import Receipt, Submission

# One script call holds Redis for all its jobs; these bound how long.
MAX_GROUP_JOBS = 256
MAX_GROUP_BYTES = 8 * 2**20
# A client is told of a silent Redis within 2 s; this leaves the rest of the request its share.
SUBMIT_TIMEOUT_S = 1.8
ATTEMPTS = 2

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """What the submitter needs of the queue (ferry.queue.producer.Producer)."""

    async def submit(self, submissions: Sequence[Submission]) -> list[Receipt]:
        """Enqueue all in one round trip; safe to repeat."""


class Submitter:
    """Turns single submits into group calls."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: deque[tuple[Submission, asyncio.Future[Receipt]]] = deque()
        self._flight: asyncio.Task[None] | None = None

    async def submit(self, submission: Submission) -> Receipt:
        """Enqueue one job, together with whoever else is asking.

        A caller that goes away takes only its own answer with it, never the group's call.

        Raises:
            QueueUnavailableError: Redis did not answer in time; the job may have been accepted all the same.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append((submission, answer))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        timer = loop.call_later(SUBMIT_TIMEOUT_S, time_out, answer)
        try:
            return await answer
        except TimeoutError:
            raise QueueUnavailableError("Redis did not answer in time", retry_after_s=1) from None
        finally:
            timer.cancel()

    async def _fly(self) -> None:
        try:
            while self._waiting:
                await self._send(self._next_group())
        finally:
            self._flight = None

    def _next_group(self) -> list[tuple[Submission, asyncio.Future[Receipt]]]:
        group: list[tuple[Submission, asyncio.Future[Receipt]]] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP_JOBS and (not group or size < MAX_GROUP_BYTES):
            group.append(self._waiting.popleft())
            size += len(group[-1][0].payload)
        return group

    async def _send(self, group: list[tuple[Submission, asyncio.Future[Receipt]]]) -> None:
        try:
            receipts = await self._call([submission for submission, _ in group])
        except Exception as error:  # noqa: BLE001  whatever it is, each of the group's callers must hear of it
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(_copy(error))
            return
        for (_, answer), receipt in zip(group, receipts, strict=True):
            if not answer.done():
                answer.set_result(receipt)

    async def _call(self, submissions: list[Submission]) -> list[Receipt]:
        """Call once more after a lost reply: jobs that were accepted are known by their ids and not queued twice."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._sink.submit(submissions)
            except QueueUnavailableError as error:
                if attempt == ATTEMPTS:
                    raise
                logger.info("submitting %d jobs again: %s", len(submissions), error)
        raise AssertionError("unreachable")


def _copy(error: Exception) -> Exception:
    """Return an error of one's own for each caller: a traceback grows with everyone who raises it."""
    if isinstance(error, FerryError):
        return type(error)(error.detail, faults=error.faults, retry_after_s=error.retry_after_s)
    return error
