"""Runs parts side by side until one ends or somebody asks to stop. Knows nothing of what the parts do.

honcho's Manager starts them, each in a session of its own, and gathers their lines. Added here: a longer grace, a
second Ctrl-C that kills, a Redis that is watched too, and nobody left behind.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from honcho.manager import Manager
from honcho.printer import Message
from honcho.process import Popen, Process

from ferry.local.lifeline import die_with_parent
from ferry.local.part_printer import PartPrinter
from ferry.local.parts import Part
from ferry.local.redis_server import RedisServer
from ferry.local.stop_signals import StopSignals

REDIS = "redis"
GRACE_S = 30.0  # a draining worker finishes its batch and settles it
GRACE_WITHOUT_REDIS_S = 3.0  # nothing can be settled any more
TICK_S = 0.1
CANNOT_START = 127  # as shells say it


@dataclass(frozen=True, slots=True)
class Ended:
    """A part that ended by itself; `status` is negative where a signal ended it."""

    name: str
    status: int

    def __str__(self) -> str:
        if self.status < 0:
            return f"{self.name} was ended by {_signal_name(-self.status)}"
        return f"{self.name} ended with status {self.status}"


class _PartProcess(Process):  # type: ignore[misc]  # honcho has no types
    """honcho's process, without a shell, and gone when the manager is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._manager_pid = os.getpid()

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:  # noqa: FBT001, FBT002 - honcho's signature
        """Run in the forked child that reads the part's lines."""
        die_with_parent(self._manager_pid, signal.SIGKILL)
        lifeline = partial(die_with_parent, os.getpid(), signal.SIGKILL)
        self._child_ctor = partial(Popen, shell=False, stdin=subprocess.DEVNULL, preexec_fn=lifeline)
        try:
            super().run(events, ignore_signals)
        except OSError as error:  # the part itself could not be started
            self._send_message(f"{self.cmd[0]}: {error.strerror}\n".encode())
            self._send_message({"pid": os.getpid()}, type="start")
            self._send_message({"returncode": CANNOT_START}, type="stop")


class PartManager(Manager):  # type: ignore[misc]  # honcho has no types
    """Call `run` once, from the main thread."""

    def __init__(
        self, parts: Sequence[Part], printer: PartPrinter, *, stop: StopSignals, redis: RedisServer | None = None
    ) -> None:
        super().__init__(printer)
        self.ended: Ended | None = None
        self._process_ctor = _PartProcess
        self._stop_signals = stop
        self._redis = redis
        self._on_started: Callable[[], None] = lambda: None
        self._has_given_up = False
        self._kill_at_s = float("inf")
        self._is_killed = False
        self._is_over = threading.Event()
        self._lock = threading.RLock()
        self._watcher = threading.Thread(target=self._watch, name="part-watcher")
        for part in parts:
            self.add_process(part.name, list(part.command), env=os.environ | part.env)

    def run(self, on_started: Callable[[], None] = lambda: None) -> Ended | None:
        """Run the parts; return the one that ended by itself, None after an orderly stop.

        `on_started` is called when all have been forked: threads may start from then on.
        """
        self._on_started = on_started
        try:
            self.loop()
        finally:
            self._is_over.set()
            if self._watcher.ident is not None:
                self._watcher.join()
            self._end_leftovers()
        return self.ended

    @property
    def is_stopping(self) -> bool:
        """Whether the parts have been told to end, or are about to be."""
        return bool(self._terminating) or self._stop_signals.is_set() or self._is_over.is_set()

    def give_up(self) -> None:
        """Ask every part to end, for a reason of the caller's; safe to call from any thread."""
        self._has_given_up = True

    def terminate(self) -> None:
        """Ask every part to end. honcho calls it when a part has ended by itself."""
        with self._lock:
            if self._terminating:
                return
            if self.ended is None and not self._stop_signals.is_set():
                self.ended = next(
                    (Ended(name, part["returncode"]) for name, part in self._processes.items() if "returncode" in part),
                    None,
                )
            is_redis_gone = self.ended is not None and self.ended.name == REDIS
            self._kill_at_s = time.monotonic() + (GRACE_WITHOUT_REDIS_S if is_redis_gone else GRACE_S)
            super().terminate()

    def kill(self) -> None:
        """Kill what is left, once its grace is over. honcho calls it too early, 5 s after the first part ended."""
        with self._lock:
            is_time = time.monotonic() > self._kill_at_s or self._stop_signals.count > 1
            if is_time and not self._is_killed:
                self._is_killed = True
                super().kill()

    def _start(self) -> None:
        self._stop_signals.install()
        super()._start()
        # Threads start after the last fork: a child forked beside them could inherit a lock nobody opens.
        self._watcher.start()
        self._on_started()

    def _system_print(self, data: str) -> None:
        self._printer.write(Message(type="line", data=data, time=self._clock.now(), name="ferry", colour=None))

    def _watch(self) -> None:
        while not self._is_over.wait(TICK_S):
            self._report_lost_readers()
            if not self._all_started():
                continue
            status = self._redis.exit_status() if self._redis else None
            if status is not None and not self._terminating:
                self.ended = Ended(REDIS, status)
                self.terminate()
            if self._stop_signals.is_set() or self._has_given_up:
                self.terminate()
            if self._terminating:
                self.kill()

    def _report_lost_readers(self) -> None:
        # The child that reads a part's lines tells of its end; one that was killed itself tells nothing.
        for name, part in self._processes.items():
            reader = part.get("process")
            if reader is not None and reader.exitcode and "returncode" not in part:
                for kind, data in (("start", {"pid": reader.pid}), ("stop", {"returncode": reader.exitcode})):
                    self.events.put(Message(type=kind, data=data, time=self._clock.now(), name=name, colour=None))

    def _end_leftovers(self) -> None:
        """Kill what remains of each part's session: after an error, or processes that a part left behind."""
        for part in self._processes.values():
            if "pid" in part:
                self._procmgr.kill(part["pid"])
        for part in self._processes.values():
            if reader := part.get("process"):
                reader.join(timeout=1)
                reader.kill()
                reader.join()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
