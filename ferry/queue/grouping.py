"""Calls that share round trips: what comes while one is in flight goes with the next. Knows no HTTP."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from ferry.errors import FerryError, QueueUnavailableError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# A wait fails after this time without one answered call: within 2 s, with the rest of the request.
CALL_TIMEOUT_S = 1.8
# The longest wait while calls are answered. A request that waits longer has been given up by its client.
MAX_WAIT_S = 30.0


class Grouping(Generic[Item, Answer]):
    """Turns single calls into calls of groups; one is in flight."""

    def __init__(
        self,
        call: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        *,
        max_items: int,
        size_of: Callable[[Item], int] = lambda _: 0,
        max_bytes: int = 1,
    ) -> None:
        """`call` answers each item of a group, in order. A group ends at `max_items`, or when it has `max_bytes`."""
        self._call = call
        self._max_items = max_items
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._flight: asyncio.Task[None] | None = None
        self._answered_at = float("-inf")

    async def ask(self, item: Item) -> Answer:
        """Return the answer for one item, asked together with those of other callers.

        A caller that goes away takes only its own answer with it, never the group's call.

        Raises:
            QueueUnavailableError: no call was answered within CALL_TIMEOUT_S, or this one not within MAX_WAIT_S.
            Exception: what the call of the group raised.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, answer))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        wait = _Wait(self, answer, loop)
        try:
            return await answer
        except TimeoutError:
            raise QueueUnavailableError(wait.reason, retry_after_s=1) from None
        finally:
            wait.timer.cancel()

    @property
    def answered_at(self) -> float:
        """When the last call was answered, in the loop's time."""
        return self._answered_at

    async def _fly(self) -> None:
        try:
            while self._waiting:
                await self._send(self._next_group())
        finally:
            self._flight = None

    def _next_group(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        group: list[tuple[Item, asyncio.Future[Answer]]] = []
        size = 0
        while self._waiting and len(group) < self._max_items and (not group or size < self._max_bytes):
            group.append(self._waiting.popleft())
            size += self._size_of(group[-1][0])
        return group

    async def _send(self, group: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._call([item for item, _ in group])
        except Exception as error:  # noqa: BLE001  whatever it is, each of the group's callers must get it
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(_copy(error))
            return
        self._answered_at = asyncio.get_running_loop().time()
        for (_, answer), given in zip(group, answers, strict=True):
            if not answer.done():
                answer.set_result(given)


class _Wait:
    """The time limit of one caller. It moves on while calls are answered: then the caller is in line, Redis is well."""

    __slots__ = ("_answer", "_began", "_grouping", "_loop", "reason", "timer")

    def __init__(
        self, grouping: "Grouping[Any, Any]", answer: "asyncio.Future[Any]", loop: asyncio.AbstractEventLoop
    ) -> None:
        self._grouping, self._answer, self._loop = grouping, answer, loop
        self._began = loop.time()
        self.reason = "Redis did not answer in time"
        self.timer = loop.call_later(CALL_TIMEOUT_S, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        until = min(max(self._began, self._grouping.answered_at) + CALL_TIMEOUT_S, self._began + MAX_WAIT_S)
        if now < until:
            self.timer = self._loop.call_at(until, self._look)
            return
        if now >= self._began + MAX_WAIT_S:
            self.reason = f"too many requests wait in this process ({MAX_WAIT_S:g} s by now); send it again"
        time_out(self._answer)


def time_out(answer: "asyncio.Future[Answer]") -> None:
    """End a wait with TimeoutError. `asyncio.timeout` would cost a request twenty times as much."""
    if not answer.done():
        answer.set_exception(TimeoutError())


def _copy(error: Exception) -> Exception:
    """Return an error of its own for each caller: a traceback grows with everyone who raises it."""
    if isinstance(error, FerryError):
        return type(error)(error.detail, faults=error.faults, retry_after_s=error.retry_after_s)
    return error
