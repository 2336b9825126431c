"""A thread whose work yields the processor: bulk rows take what the API, Redis and interactive jobs leave over.

Linux schedules each thread by itself, and lets anybody make one idle, but not undo it. So bulk work has a thread for
good, and hands back what is urgent to the thread that waits for it.
"""

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

# Where threads cannot be idle ones: beside a thread of niceness 0 it gets a seventieth of a core that both want.
NICENESS = 19

T = TypeVar("T")


class QuietThread:
    """Carries out one action at a time."""

    def __init__(self) -> None:
        self._actions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._favours: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, action: Callable[[], T], *, meanwhile: Callable[[], None] | None = None, every_s: float = 1.0) -> T:
        """Carry out an action on the thread, and on this one what it hands back, and `meanwhile` every so often.

        Raises:
            BaseException: whatever the action raises.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ferry-bulk", daemon=True)
            self._thread.start()
        done: Future[T] = Future()

        def act() -> None:
            _carry_out(action, done)
            self._favours.put(None)

        self._actions.put(act)
        while True:
            try:
                favour = self._favours.get(timeout=every_s if meanwhile else None)
            except queue.Empty:
                if meanwhile:
                    meanwhile()
                continue
            if favour is None:
                return done.result()
            favour()

    def hand_back(self, favour: Callable[[], T]) -> T:
        """Within an action: carry something out on the thread that waits for it, at its priority.

        Raises:
            BaseException: whatever it raises.
        """
        done: Future[T] = Future()
        self._favours.put(lambda: _carry_out(favour, done))
        return done.result()

    def _work(self) -> None:
        _yield_processor()
        while True:
            self._actions.get()()


def _yield_processor() -> None:
    """Make the calling thread run when no other wants to.

    A merely nice thread keeps the core for milliseconds after another has woken up; an idle one gives it up at once.
    Where neither can be had, bulk work competes like any other.
    """
    with suppress(AttributeError, OSError):  # not on every system
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _carry_out(action: Callable[[], T], done: Future[T]) -> None:
    try:
        done.set_result(action())
    except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
        done.set_exception(error)
