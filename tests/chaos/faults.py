"""Breaks one part after another, as planned, and puts each together again."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from redis.exceptions import RedisError

from tests.chaos.parts import LEASE_S, N_WORKERS, Parts, kill_group
from tests.chaos.plan import FaultPlan, Kind
from tests.chaos.redis_part import PartError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that happened; times are seconds of the wall clock, as Redis' are. `detail`: to whom, how long."""

    kind: Kind
    began_s: float
    repaired_s: float
    detail: str


class Breaker:
    """Does the faults of a plan until it is told to stop. Call it from one thread."""

    def __init__(self, parts: Parts, plans: Iterator[FaultPlan]) -> None:
        self.faults: list[Fault] = []
        self.complaints: list[str] = []
        self.paused: set[int] = set()  # pids of stopped workers, for whoever watches
        self._parts = parts
        self._plans = plans
        self._breaks: dict[Kind, Callable[[Random], str]] = {
            Kind.WORKER_KILL: self._kill_worker, Kind.TWO_WORKERS_KILL: self._kill_two_workers,
            Kind.WORKER_PAUSE: self._pause_worker, Kind.WORKER_DRAIN: self._drain_worker,
            Kind.REDIS_KILL: self._kill_redis, Kind.REDIS_PAUSE: self._pause_redis, Kind.API_KILL: self._kill_api,
            Kind.CUT_CLIENTS: lambda _: self._cut("normal"), Kind.CUT_SUBSCRIBERS: lambda _: self._cut("pubsub"),
        }  # fmt: skip

    def run(self, is_over: Callable[[], bool], stop: threading.Event) -> None:
        """Break things until `is_over` and every kind occurred, or `stop`."""
        while not stop.is_set() and not (is_over() and self.has_done_all()):
            plan = next(self._plans)
            if not stop.wait(plan.gap_s):
                self._do(plan)

    def has_done_all(self) -> bool:
        """Return whether every kind of fault occurred."""
        return {fault.kind for fault in self.faults} == set(Kind)

    def _do(self, plan: FaultPlan) -> None:
        self._revive()
        began_s = time.time()
        try:
            detail = self._breaks[plan.kind](plan.dice)
        except (PartError, RedisError) as error:
            self.complaints.append(f"{plan.kind.value}: {error}")
            detail = str(error)
        fault = Fault(plan.kind, began_s, time.time(), detail)
        self.faults.append(fault)
        logger.info("%s (%s), repaired after %.1f s", fault.kind.value, detail, fault.repaired_s - began_s)

    def _revive(self) -> None:
        """Start again, and complain of, what ended without being asked to."""
        for what in self._parts.fallen():
            self.complaints.append(f"{what} ended by itself after {self.faults[-1].kind.value if self.faults else '-'}")
        with suppress(PartError):
            for slot, worker in enumerate(self._parts.workers):
                if not worker.is_running():
                    self._parts.wait_for_worker(self._parts.launch_worker(slot))
            if self._parts.api and not self._parts.api.is_running():
                self._parts.start_api()
                self._parts.wait_for_api()

    # --- one method per kind; each returns to whom it was done

    def _kill_worker(self, dice: Random) -> str:
        slot = dice.randrange(N_WORKERS)
        return self._kill_workers([slot], 0.0)

    def _kill_two_workers(self, dice: Random) -> str:
        return self._kill_workers(dice.sample(range(N_WORKERS), 2), dice.uniform(0.0, 1.0))

    def _kill_workers(self, slots: list[int], apart_s: float) -> str:
        killed = [self._parts.workers[slot].log.stem for slot in slots]
        for n, slot in enumerate(slots):
            time.sleep(apart_s if n else 0.0)
            kill_group(self._parts.workers[slot])
        for name in [self._parts.launch_worker(slot) for slot in slots]:
            self._parts.wait_for_worker(name)
        return ", ".join(killed)

    def _pause_worker(self, dice: Random) -> str:
        worker, pause_s = self._parts.workers[dice.randrange(N_WORKERS)], dice.uniform(1.3, 2.5) * LEASE_S
        self.paused.add(worker.pid)
        worker.signal(signal.SIGSTOP)
        try:
            time.sleep(pause_s)
        finally:
            worker.signal(signal.SIGCONT)
            self.paused.discard(worker.pid)
        return f"{worker.log.stem} for {pause_s:.1f} s"

    def _drain_worker(self, dice: Random) -> str:
        slot = dice.randrange(N_WORKERS)
        drained = self._parts.workers[slot].log.stem
        try:
            self._parts.drain_worker(slot)
        finally:
            kill_group(self._parts.workers[slot])
            self._parts.wait_for_worker(self._parts.launch_worker(slot))
        return drained

    def _kill_redis(self, dice: Random) -> str:
        away_s = dice.choice([0.0, dice.uniform(0.0, 1.0), dice.uniform(1.0, 2.0 * LEASE_S)])
        with self._parts.client() as client:
            info = client.info("persistence")
        self._parts.redis.kill()
        time.sleep(away_s)
        self._parts.redis.start()
        self._parts.wait_for_api()
        # With everysec Redis answers before it writes while an fsync is slow: what is in its buffer then is lost.
        return (
            f"away for {away_s:.1f} s; AOF buffer {info['aof_buffer_length']} bytes, "
            f"{info['aof_delayed_fsync']} delayed fsyncs before"
        )

    def _pause_redis(self, dice: Random) -> str:
        # Longer than a call is waited for: what was asked is done later, and nobody hears the answer.
        pause_s = dice.uniform(0.5, 2.0 * LEASE_S)
        self._parts.redis.signal(signal.SIGSTOP)
        try:
            time.sleep(pause_s)
        finally:
            self._parts.redis.signal(signal.SIGCONT)
        self._parts.wait_for_api()
        return f"for {pause_s:.1f} s"

    def _kill_api(self, dice: Random) -> str:
        if self._parts.api:
            kill_group(self._parts.api)
        time.sleep(dice.uniform(0.0, 1.0))
        self._parts.start_api()
        self._parts.wait_for_api()
        return "all its processes"

    def _cut(self, client_type: str) -> str:
        with self._parts.client() as client:
            n_cut = client.client_kill_filter(_type=client_type)
        return f"{n_cut} connections"
