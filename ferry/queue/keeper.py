"""The keeper: the elected housekeeper that ends overdue jobs, lapses dead claims and tops up tickets.

Every API process and every worker runs one of these threads with a connection of its own; one of them leads.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ferry.errors import QueueUnavailableError
from ferry.jobs import DEAD_TTL_S
from ferry.queue.clock import Clock, ClockReference
from ferry.queue.connection import ThreadClient, redis_errors
from ferry.queue.recount import Recount

EXPIRE_EVERY_S = 0.05
LAPSE_EVERY_S = 1.0
# Counters are counted again this often; while a pass goes on, a slice each RECOUNT_SLICE_EVERY_S.
RECOUNT_EVERY_S = 60.0
RECOUNT_SLICE_EVERY_S = 0.5
# One who does not lead asks this often whether the place is free; well below the lock's time.
STAND_EVERY_S = 0.5
# Bounds of one script call, so that Redis is never held for long.
MAX_EXPIRED_A_CALL = 500
MAX_LAPSED_A_CALL = 100
NOT_LEADING = -1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeeperRules:
    """lease_s: how long after an outage no claim lapses. max_attempts: claims of one job before it is given up.

    dead_ttl_s: how long a job that was given up is kept, with its input.
    """

    lease_s: float
    max_attempts: int
    dead_ttl_s: float = DEAD_TTL_S


class Keeper:
    """The keeper's two duties, one call each; the leader does them."""

    def __init__(self, client: ThreadClient, rules: KeeperRules, *, clock: Clock = time.monotonic) -> None:
        self._holder = uuid.uuid4().hex
        self.rules = rules
        self._clock = clock
        self._reference = ClockReference(clock)
        self._clock_step = client.script("clock_step")
        self._recount = Recount(client, self._holder, clock=clock)
        self._expire = client.script("expire")
        self._lapse = client.script("lapse")

    def expire(self) -> int | None:
        """End jobs whose deadline passed; returns how many, or None when another leads.

        A step of Redis' clock ends nothing: it is found by the own monotonic clock, taken out and logged.
        """
        sent_at = self._clock()
        with redis_errors():
            args = [self._holder, MAX_EXPIRED_A_CALL, self._now_us(), uuid.uuid4().hex]
            ended, redis_us, seen_us = map(int, self._expire(args=args))
        step_us = self._reference.step_us(redis_us, seen_us, sent_at=sent_at)
        if ended == NOT_LEADING:
            self._reference.follow(redis_us)
            return None
        if step_us:
            self._take_out(step_us)
        return ended

    def recount(self) -> bool:
        """Count a slice of what the counters say again; returns whether the pass over them goes on."""
        return self._recount.step()

    def _now_us(self) -> int | str:
        known = self._reference.now_us()
        return "" if known is None else known

    def _take_out(self, step_us: int) -> None:
        with redis_errors():
            lease_ms = int(self.rules.lease_s * 1000)
            taken = int(self._clock_step(args=[self._holder, step_us, lease_ms, uuid.uuid4().hex]))
        if taken != NOT_LEADING:
            logger.warning(
                "clock_step: Redis' clock went %s by %.3f s; leases and deadlines go on as before",
                "forward" if step_us > 0 else "back", abs(step_us) / 1e6,
            )  # fmt: skip

    def lapse(self, *, after_outage: bool = False, is_new: bool = False) -> tuple[int, int] | None:
        """Give back the jobs of dead claims and top up; returns (claims lapsed, tickets sent), or None.

        With either flag no lease ends before one lease from now. `is_new`: this keeper has only just come and cannot
        tell. `after_outage`: it saw Redis gone, so what is not renewed in that time costs its jobs no attempt.
        """
        grace_ms = int(self.rules.lease_s * 1000) if after_outage or is_new else 0
        dead_ttl_ms = int(self.rules.dead_ttl_s * 1000)
        args: list[str | int] = [
            self._holder, uuid.uuid4().hex, self.rules.max_attempts, MAX_LAPSED_A_CALL, grace_ms, dead_ttl_ms,
            int(after_outage), self._now_us(),
        ]  # fmt: skip
        with redis_errors():
            reply = self._lapse(args=args)
        return None if reply == NOT_LEADING else (int(reply[0]), int(reply[1]))


class KeeperThread(threading.Thread):
    """Runs a keeper until stopped; survives every Redis outage."""

    def __init__(self, keeper: Keeper, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="ferry-keeper", daemon=True)
        self._keeper = keeper
        self._clock = clock
        self._stopping = threading.Event()
        self._lapse_due = clock()
        self._recount_due = clock() + RECOUNT_EVERY_S
        # Since when Redis has answered us without a gap; None while it does not.
        self._answers_since: float | None = None
        self._grace_given = False
        self._saw_outage = False

    def stop(self) -> None:
        """Ask the thread to end; it does within a round."""
        self._stopping.set()

    def run(self) -> None:
        """Keep house, round after round."""
        while not self._stopping.wait(self.round()):
            pass

    def round(self) -> float:
        """Do what is due; returns seconds to the next round."""
        try:
            ended = self._keeper.expire()
            now = self._clock()
            if self._answers_since is None:
                self._answers_since = now
            if ended is None:
                return STAND_EVERY_S
            if now >= self._lapse_due:
                self._lapse_due = now + LAPSE_EVERY_S
                self._lapse(now - self._answers_since)
            if now >= self._recount_due:
                self._recount_due = now + RECOUNT_EVERY_S
                if self._keeper.recount():
                    self._recount_due = now + RECOUNT_SLICE_EVERY_S
        except QueueUnavailableError as error:
            if self._answers_since is not None:
                logger.warning("keeper: %s", error)
            self._answers_since, self._grace_given, self._saw_outage = None, False, True
            return STAND_EVERY_S
        except Exception:
            # Without this thread no dead claim would ever lapse again.
            logger.exception("the keeper's round failed")
            return STAND_EVERY_S
        # Claims skip overdue jobs, but only so many: with more of them in front, jobs behind would wait for their end.
        return 0 if ended >= MAX_EXPIRED_A_CALL else EXPIRE_EVERY_S

    def _lapse(self, answered_for_s: float) -> None:
        # Who has not seen Redis for a whole lease cannot tell a dead holder from one that could not renew; once each
        # holder had a lease's time to renew, it can.
        needs_grace = answered_for_s < self._keeper.rules.lease_s and not self._grace_given
        self._grace_given = self._grace_given or needs_grace
        after_outage, is_new = needs_grace and self._saw_outage, needs_grace and not self._saw_outage
        lapsed, _ = self._keeper.lapse(after_outage=after_outage, is_new=is_new) or (0, 0)
        if lapsed:
            logger.warning("%d claims lapsed: their jobs wait again, each to be run alone", lapsed)
