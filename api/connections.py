"""The open connections of one API process: how many there may be, their deadlines, and what was cut off.

Time comes in ticks of about a second, so a request costs no timer. Knows nothing of HTTP.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from typing import Protocol

from ferry.open_files import open_files_limit

TICK_S = 1.0
# While the loop is busy elsewhere no bytes are read, so a late tick counts no more than this.
MAX_TICK_S = 2.0
# Of connections that were cut off one log line tells at most this often.
REPORT_S = 10.0
# At the limit this share of it is freed at once, so that the search through all is rare.
FREED_SHARE = 1 / 32
# Connections over the limit that may take their 503; beyond, they are cut.
MAX_OVER_LIMIT = 64
# The reason for an end that is our own fault.
INTERNAL = "internal"
# Descriptors for Redis, files and logs.
RESERVED_FILES = 256
# About 15 KB of memory each.
DEFAULT_MAX_CONNECTIONS = 10_000
# Ticked in one turn of the event loop.
_PER_TURN = 256

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """What a connection shows of itself."""

    has_served: bool
    silent_s: float

    def is_idle(self) -> bool:
        """Whether no request of it is served or read."""

    def tick(self, seconds: float) -> None:
        """Count time, and end the connection where it is due."""

    def cut(self) -> None:
        """Close at once."""


def default_max_connections() -> int:
    """Return how many connections the open-files limit allows, `DEFAULT_MAX_CONNECTIONS` at most."""
    return min(DEFAULT_MAX_CONNECTIONS, _most_connections())


def allowed_connections(setting: int) -> int:
    """Return FERRY_MAX_CONNECTIONS, or what the open-files limit allows where that is less; 0 stays 0."""
    most = _most_connections()
    if setting > most:
        logger.warning(
            "too_few_open_files: FERRY_MAX_CONNECTIONS=%d, and the limit of open files leaves room for %d; "
            "raise that limit (ulimit -n), or lower the setting",
            setting,
            most,
        )
    return min(setting, most)


def _most_connections() -> int:
    return max(1, open_files_limit() - RESERVED_FILES)


class Connections:
    """One per process. `count` gets each reason for which a connection was refused or cut off."""

    def __init__(self, *, max_open: int = 0, count: Callable[[str], None] | None = None) -> None:
        """`max_open` 0 stands for `default_max_connections`."""
        self.max_open = max_open or default_max_connections()
        self._count = count
        self._open: set[Connection] = set()
        self._unreported: Counter[str] = Counter()
        self._since_report_s = REPORT_S
        self._may_search = True

    @property
    def n_open(self) -> int:
        """How many are open."""
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Take a new connection; False where it is over the limit and must be refused, or was cut.

        Idle connections make room first: their clients must expect an end at any time (RFC 9112, section 9.5). Those
        that never sent a whole request go before kept-alive ones, and the longest silent go first.
        """
        if len(self._open) >= self.max_open and self._may_search:
            self._make_room()
        is_over = len(self._open) >= self.max_open
        if len(self._open) >= self.max_open + MAX_OVER_LIMIT:
            self.note("too_many_connections")
            connection.cut()
            return False
        self._open.add(connection)
        return not is_over

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._open.discard(connection)

    def note(self, reason: str) -> None:
        """Count a connection that was refused or cut off."""
        self._unreported[reason] += 1
        if self._count:
            self._count(reason)

    def _make_room(self) -> None:
        idle = [connection for connection in self._open if connection.is_idle()]
        self._may_search = bool(idle)  # a search costs a look at all; the next tick allows another
        idle.sort(key=lambda connection: (connection.has_served, -connection.silent_s))
        for connection in idle[: max(1, int(self.max_open * FREED_SHARE))]:
            self._open.discard(connection)
            self.note("made_room")
            connection.cut()

    def _drop_broken(self, connection: Connection) -> None:
        self._open.discard(connection)
        self.note(INTERNAL)
        with suppress(Exception):
            connection.cut()

    async def watch(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Tick for ever."""
        before = clock()
        while True:
            await sleep(TICK_S)
            now = clock()
            await self.tick(min(now - before, MAX_TICK_S))
            before = now

    async def tick(self, seconds: float) -> None:
        """Let every connection count this time, some in each turn of the loop, and log what was cut off."""
        self._may_search = True
        waiting = iter(list(self._open))
        while some := list(islice(waiting, _PER_TURN)):
            for connection in some:
                try:
                    connection.tick(seconds)
                except Exception:  # the deadlines of all others go on
                    logger.exception("the deadlines of a connection failed; it is cut off")
                    self._drop_broken(connection)
            await asyncio.sleep(0)
        self._since_report_s += seconds
        if self._unreported and self._since_report_s >= REPORT_S:
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(self._unreported.items()))
            logger.warning("connections refused or cut off: %s; %d of %d are open", reasons, self.n_open, self.max_open)
            self._unreported.clear()
            self._since_report_s = 0.0
