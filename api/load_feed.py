"""The load of the fleet as it changes: read every three seconds per process at most, however many ask and follow."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ferry.queue.load import Load

# A browser wakes and draws for each reading; little else costs it (docs/benchmarks.md, "With ten pages open").
EVERY_S = 3.0
# Who asks first waits this long for something to count rates from.
FIRST_S = 1.0
# Rates are averages over about this time: long enough to be steady, short enough to be of now.
OVER_S = 6.0
# A reading is taken anew after this share of the time: followers do not come at the same instant.
_FRESH_SHARE = 0.9


class LoadBook(Protocol):
    """What the feed needs of the queue (ferry.queue.load.LoadReader)."""

    async def read(self) -> Load:
        """Return the load now."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The load now, and the earlier one that rates are counted from; None before there was one."""

    now: Load
    before: Load | None


class LoadFeed:
    """Reads the load for everybody; costs nothing while nobody asks."""

    def __init__(
        self,
        book: LoadBook,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._book = book
        self._clock = clock
        self._sleep = sleep
        self._readings: deque[tuple[float, Load]] = deque()
        self._reading = asyncio.Lock()

    async def now(self, *, every_s: float = EVERY_S) -> Pace:
        """Return the load as of at most `every_s` ago.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        async with self._reading:
            now = self._clock()
            if not self._readings or now - self._readings[-1][0] >= _FRESH_SHARE * every_s:
                self._readings.append((now, await self._book.read()))
            # One reading that is as old as the rates reach back stays.
            while len(self._readings) > 1 and now - self._readings[1][0] >= OVER_S:
                self._readings.popleft()
            if now - self._readings[0][0] > 2 * OVER_S:  # nobody asked for a while
                self._readings.popleft()
            before = self._readings[0][1]
            last = self._readings[-1][1]
        return Pace(last, None if before is last else before)

    async def with_rates(self) -> Pace:
        """Return the load with something to count rates from; who asks first waits for that a second."""
        pace = await self.now()
        if pace.before is None:
            await self._sleep(FIRST_S)
            pace = await self.now(every_s=FIRST_S)
        return pace
