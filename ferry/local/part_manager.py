"""Runs parts side by side until somebody asks to stop. Knows nothing of what the parts do.

All of it happens in the thread that calls `run`: starting (a part dies with the thread that started it), reading lines,
looking for ends. A part that ends by itself is started again, and the others run on; so is the embedded Redis. Two ends
stop all: that of a needed part or of Redis before the stack has come up, and that of a Redis that will not start again.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from selectors import EVENT_READ, DefaultSelector

from ferry.local.lifeline import CANNOT_START
from ferry.local.part_printer import PART_COLOURS, Message, PartPrinter
from ferry.local.part_process import PartProcess
from ferry.local.part_states import PartStates
from ferry.local.parts import Part
from ferry.local.redis_server import RedisServer
from ferry.local.restarts import LONGEST_PAUSE_S, SLOW_PAUSE_S, RestartRule, is_crash
from ferry.local.stop_signals import StopSignals

REDIS = "redis"
OWN_NAME = "ferry"
GRACE_S = 30.0  # a draining worker finishes its batch and settles it
GRACE_WITHOUT_REDIS_S = 3.0  # nothing can be settled any more
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """A part that ended by itself; `status` is negative where a signal ended it."""

    name: str
    status: int
    n_short_lives: int = 1  # how often in a row it ended soon after its start

    def __str__(self) -> str:
        if self.status < 0:
            how = f"{self.name} was ended by {_signal_name(-self.status)}"
        else:
            how = f"{self.name} ended with status {self.status}"
        return (
            how
            if self.n_short_lives <= 1
            else f"{how} (it ended soon after its start {self.n_short_lives} times in a row)"
        )


@dataclass(slots=True)
class _Slot:
    """A part and where it stands: it runs, or pauses before its next start, or neither when it is over."""

    part: Part
    colour: str
    rule: RestartRule = field(default_factory=RestartRule)
    process: PartProcess | None = None
    has_ended: bool = False  # the process; others of its session may live on
    start_at_s: float | None = None


class PartManager:
    """Call `run` once, from the main thread; `is_stopping`, `mark_ready` and `give_up` are for any thread."""

    def __init__(
        self,
        parts: Sequence[Part],
        printer: PartPrinter,
        *,
        stop: StopSignals,
        redis: RedisServer | None = None,
        states: PartStates | None = None,
    ) -> None:
        self._states = states or PartStates()
        self.ended: Ended | None = None
        self._slots = [_Slot(part, colour) for part, colour in zip(parts, cycle(PART_COLOURS), strict=False)]
        self._printer = printer
        self._printer.width = max(len(name) for name in (OWN_NAME, *(part.name for part in parts)))
        self._stop_signals = stop
        self._redis = redis
        self._redis_rule = RestartRule()
        self._start_redis_at_s: float | None = None
        self._outputs = DefaultSelector()
        self._is_ready = False
        self._has_given_up = False
        self._is_terminating = False
        self._kill_at_s = float("inf")
        self._is_killed = False
        self._is_over = False

    def run(self, on_started: Callable[[], None] = lambda: None) -> Ended | None:
        """Run the parts; return the one that ended by itself, None after an orderly stop.

        `on_started` is called when all have been started for the first time.
        """
        try:
            if self._redis:
                self._states.note_start(REDIS)
            for slot in self._slots:
                self._start(slot)
            on_started()
            while any(slot.process or slot.start_at_s is not None for slot in self._slots):
                self._turn()
        finally:
            self._is_over = True
            for _, process in self._running():
                process.close()
            self._outputs.close()
        return self.ended

    @property
    def is_stopping(self) -> bool:
        """Whether the parts have been told to end, or are about to be."""
        return self._is_terminating or self._has_given_up or self._stop_signals.is_set() or self._is_over

    def mark_ready(self) -> None:
        """Say that the stack has come up: from now on no part's end stops the others."""
        self._is_ready = True

    def give_up(self) -> None:
        """Ask every part to end, for a reason of the caller's."""
        self._has_given_up = True

    def _running(self) -> Iterator[tuple[_Slot, PartProcess]]:
        return ((slot, slot.process) for slot in self._slots if slot.process)

    def _turn(self) -> None:
        for key, _ in self._outputs.select(TICK_S):
            self._pass_on(key.data)
        # Redis first: without it the others are not to blame.
        if self._redis and not self.is_stopping:
            self._look_after_redis(self._redis)
        if self.is_stopping:
            self._terminate(GRACE_S if self._start_redis_at_s is None else GRACE_WITHOUT_REDIS_S)
        for slot in self._slots:
            self._look_after(slot)
        is_time = time.monotonic() > self._kill_at_s or self._stop_signals.count > 1
        if self._is_terminating and is_time and not self._is_killed:
            self._is_killed = True
            self._signal_all(signal.SIGKILL)

    def _look_after_redis(self, redis: RedisServer) -> None:
        if self._start_redis_at_s is not None:
            if time.monotonic() >= self._start_redis_at_s:
                self._start_redis(redis)
            return
        status = redis.exit_status()
        if status is None:
            return
        pause_s = self._redis_rule.pause_after(ran_s=redis.ran_s, status=status)
        ended = Ended(REDIS, status)
        # One that ends again and again will not start: its files may be damaged, or its port be somebody else's now.
        if not self._is_ready or pause_s >= SLOW_PAUSE_S:
            self.ended = ended
            self._terminate(GRACE_WITHOUT_REDIS_S)
            return
        self._start_redis_at_s = time.monotonic() + pause_s
        self._states.note_end(REDIS, str(ended))
        self._tell(f"{ended}; starting it again with what it had written, the other parts wait for it")

    def _start_redis(self, redis: RedisServer) -> None:
        try:
            redis.start_again()
        except OSError as error:  # no memory or no room on the disk, which may come back
            self._start_redis_at_s = time.monotonic() + LONGEST_PAUSE_S
            self._tell(f"{REDIS} cannot be started: {error.strerror}")
            return
        self._start_redis_at_s = None
        self._states.note_start(REDIS)

    def _look_after(self, slot: _Slot) -> None:
        if slot.start_at_s is not None and time.monotonic() >= slot.start_at_s:
            self._start(slot)
        elif (process := slot.process) is not None:
            status = process.status
            if status is not None and not slot.has_ended:
                slot.has_ended = True
                self._tell_lines(slot, process.read_rest())
                self._note_end(slot, status, process.ran_s)
            # Told to stop, what a part started may take its time like the part itself.
            if slot.has_ended and (process.is_silent or self._is_killed):
                self._release(slot)

    def _start(self, slot: _Slot) -> None:
        slot.start_at_s = None
        slot.has_ended = False
        if self.is_stopping:
            return
        try:
            slot.process = PartProcess(slot.part)
        except OSError as error:
            self._tell_lines(slot, f"cannot be started: {error.strerror}")
            self._note_end(slot, CANNOT_START, ran_s=0.0)
            return
        self._outputs.register(slot.process, EVENT_READ, slot)
        self._states.note_start(slot.part.name)
        self._tell(f"{slot.part.name} started (pid={slot.process.pid})")

    def _note_end(self, slot: _Slot, status: int, ran_s: float) -> None:
        name = slot.part.name
        if self.is_stopping:
            self._tell(f"{name} stopped (rc={status})")
            return
        # Before the stack is up a refusal is told at once; a crash can come from a job of an earlier stack.
        if slot.part.is_needed and not self._is_ready and not is_crash(status):
            self._fail(Ended(name, status))
            return
        pause_s = slot.rule.pause_after(ran_s=ran_s, status=status)
        ended = Ended(name, status, slot.rule.n_short_lives if pause_s >= SLOW_PAUSE_S else 1)
        self._release(slot)  # what it started must not run beside its next life
        slot.start_at_s = time.monotonic() + pause_s
        self._states.note_end(name, str(ended))
        self._tell(f"{ended}; starting it again{f' in {pause_s:g} s' if pause_s >= SLOW_PAUSE_S else ''}")

    def _fail(self, ended: Ended) -> None:
        self.ended = ended
        self._tell(f"{ended.name} stopped (rc={ended.status})")
        self._terminate(GRACE_S)

    def _terminate(self, grace_s: float) -> None:
        if self._is_terminating:
            return
        self._is_terminating = True
        self._kill_at_s = time.monotonic() + grace_s
        for slot in self._slots:
            slot.start_at_s = None
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for slot, process in self._running():
            if not (slot.has_ended and process.is_silent):
                self._tell(f"sending {number.name} to {slot.part.name} (pid {process.pid})")
                process.signal_session(number)

    def _release(self, slot: _Slot) -> None:
        if slot.process:
            self._stop_listening_to(slot.process)
            slot.process.close()
            slot.process = None

    def _pass_on(self, slot: _Slot) -> None:
        if slot.process:
            self._tell_lines(slot, slot.process.read_lines())
            if slot.process.is_silent:
                self._stop_listening_to(slot.process)

    def _stop_listening_to(self, process: PartProcess) -> None:
        if process.fileno() in self._outputs.get_map():
            self._outputs.unregister(process)

    def _tell_lines(self, slot: _Slot, lines: bytes | str) -> None:
        self._printer.write(Message(slot.part.name, lines, datetime.now(), slot.colour))

    def _tell(self, what: str) -> None:
        self._printer.write(Message(OWN_NAME, what, datetime.now()))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
