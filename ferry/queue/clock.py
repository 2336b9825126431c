"""The steady time: Redis' clock without its steps. Knows the key that holds the steps, and nothing of jobs.

Redis' TIME is a wall clock: an operator or NTP may set it hours ahead or back. The leader compares it with its own
monotonic clock and takes each step out (lua/clock_step.lua). Leases, deadlines and heartbeats are in steady time.
"""

import time
from collections.abc import Callable
from typing import cast

import redis
import redis.asyncio

from ferry.queue.keys import AHEAD_US, Keys

# Differences up to this are taken for delay and drift.
STEP_S = 0.25
# A process that does not lead takes over the leader's time where the two differ for so long: its own clock stood still
# (its machine slept).
ADOPT_S = 5.0

Clock = Callable[[], float]
# The reply to TIME (seconds, microseconds) and the value of `Keys.clock`, of one moment.
Reading = tuple[tuple[int, int], bytes | None]


def read_clock(client: redis.Redis, keys: Keys) -> Reading:
    """Read Redis' clock and its steps at once: between two reads the leader may take a step out."""
    with client.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.get(keys.clock)
        return cast(Reading, tuple(pipe.execute()))


async def read_clock_async(client: redis.asyncio.Redis, keys: Keys) -> Reading:
    """As `read_clock`, on an event loop."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.get(keys.clock)
        return cast(Reading, tuple(await pipe.execute()))


def steady_us(wall: tuple[int, int], known: bytes | None) -> int:
    """Return the steady time for the reply to TIME and the value of `Keys.clock`, in microseconds.

    As `now` in lua/prelude.lua: it never goes back behind what the leader saw.
    """
    offset, seen = _parts(known)
    return max(wall[0] * 1_000_000 + wall[1] - offset, seen)


def shown_us(steady: int, known: bytes | None) -> int:
    """Return what Redis' clock shows at a steady time, by the steps that are known now; in microseconds."""
    offset, _ = _parts(known)
    return steady + offset


def cautious_us(wall: tuple[int, int], known: bytes | None) -> int:
    """Return the same for what deletes by it: a step forward that no leader has seen yet is left out."""
    _, seen = _parts(known)
    now = steady_us(wall, known)
    return min(now, seen + AHEAD_US) if seen else now


def _parts(known: bytes | None) -> tuple[int, int]:
    offset, seen = (known or b"0 0").split(b" ")
    return int(offset), int(seen)


class ClockReference:
    """What one process knows of the steady time by its own monotonic clock."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        # The steady time, and between which two moments of `clock` it was that: while the reply was awaited.
        self._last: tuple[int, float, float] | None = None
        self._differs_since: float | None = None

    def now_us(self) -> int | None:
        """Return the steady time by the own clock; None before the first reply."""
        return None if self._last is None else self._since(self._last[2], self._clock())

    def step_us(self, redis_us: int, seen_us: int, *, sent_at: float) -> int:
        """Compare a reply that was asked for at `sent_at`; returns the step of Redis' clock, 0 where there is none.

        redis_us: the steady time by Redis' clock. seen_us: what a leader saw last: before the first reply nothing else
        tells a clock that went back.
        """
        received_at = self._clock()
        if self._last is None:
            self._last = (max(redis_us, seen_us), sent_at, received_at)
            return min(0, redis_us - seen_us)
        # Both replies may have been on their way for long, on a busy machine: what that explains is no step.
        earliest, latest = self._since(self._last[2], sent_at), self._since(self._last[1], received_at)
        step = redis_us - latest if redis_us > latest else min(0, redis_us - earliest)
        if abs(step) > STEP_S * 1e6:
            self._differs_since = received_at if self._differs_since is None else self._differs_since
            return step
        self._last, self._differs_since = (redis_us, sent_at, received_at), None
        return 0

    def follow(self, redis_us: int) -> None:
        """Take over another leader's time where the own one has differed from it for long."""
        now = self._clock()
        if self._differs_since is not None and now - self._differs_since >= ADOPT_S:
            self._last, self._differs_since = (redis_us, now, now), None

    def _since(self, then: float, at: float) -> int:
        """Return the steady time at `at`, if it was the last that was seen at `then`."""
        return (self._last[0] if self._last else 0) + int((at - then) * 1e6)
