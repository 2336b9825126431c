"""A pool of connections for an event loop. Requests wait for a connection in order of arrival. Knows no commands.

A full pool says nothing about Redis. A wait fails only when Redis has answered nothing for SILENCE_S.
"""

import asyncio
from collections import deque
from typing import Any

import redis
import redis.asyncio

# A wait fails after this time without one answer from Redis. With one more call a silent Redis is known within 2 s.
SILENCE_S = 0.9
# The event loop itself stood still if a timer is late by more than this; such a round proves nothing about Redis.
LATE_S = 0.1
# The longest wait while Redis answers. A request that waits longer has been given up by its client.
MAX_WAIT_S = 30.0


class PoolExhaustedError(redis.ConnectionError):
    """Redis answers, but this process had no free connection for MAX_WAIT_S."""


class FairPool(redis.asyncio.ConnectionPool):
    """At most `max_connections` connections; a free one goes to the request that waited longest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._n_free = self.max_connections
        self._line: deque[asyncio.Future[None]] = deque()
        self._answered_at = float("-inf")

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return a connected connection.

        Raises:
            redis.ConnectionError: Redis does not answer, or the wait was longer than MAX_WAIT_S.
        """
        await self._take_turn()
        try:
            connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        except BaseException:
            self._pass_on()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: Any) -> None:
        """Take a connection back. A connection that is still open has had its answers."""
        if connection not in self._in_use_connections:
            return
        if connection.is_connected:
            self._answered_at = asyncio.get_running_loop().time()
        try:
            await super().release(connection)
        finally:
            self._pass_on()

    async def _take_turn(self) -> None:
        if self._n_free:
            self._n_free -= 1
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        turn: asyncio.Future[None] = loop.create_future()
        self._line.append(turn)
        try:
            while not turn.done():
                due = loop.time() + SILENCE_S
                await asyncio.wait((turn,), timeout=SILENCE_S)
                if not turn.done() and loop.time() - due < LATE_S:
                    self._check_wait(began, loop.time())
        except BaseException:
            if not turn.cancel():
                self._pass_on()
            raise

    def _check_wait(self, began: float, now: float) -> None:
        if now - max(began, self._answered_at) >= SILENCE_S:
            raise redis.ConnectionError(f"no answer for {SILENCE_S:g} s")
        if now - began >= MAX_WAIT_S:
            raise PoolExhaustedError(
                f"no free connection to Redis for {MAX_WAIT_S:g} s: all {self.max_connections} of this process are used"
            )

    def _pass_on(self) -> None:
        """Give the freed place to the first in line; it is never free in between, so no newcomer takes it."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._n_free += 1
