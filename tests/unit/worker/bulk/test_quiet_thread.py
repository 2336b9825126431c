"""A thread of lower priority, and what it hands back."""

import os
import threading

import pytest

from worker.bulk.quiet_thread import NICENESS, QuietThread


def test_run_when_carried_out_then_on_a_thread_that_is_nicer() -> None:
    quiet = QuietThread()

    def look() -> tuple[int, int]:
        return threading.get_ident(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    ident, niceness = quiet.run(look)
    assert ident != threading.get_ident()
    assert niceness >= min(19, NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < niceness
    assert quiet.run(look) == (ident, niceness)


def test_hand_back_when_in_an_action_then_on_the_thread_that_waits() -> None:
    quiet = QuietThread()
    assert quiet.run(lambda: quiet.hand_back(threading.get_ident)) == threading.get_ident()


def test_run_when_it_raises_then_so_does_the_call_and_the_next_is_fine() -> None:
    quiet = QuietThread()

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        quiet.run(fail)
    with pytest.raises(KeyError):
        quiet.run(lambda: quiet.hand_back(fail))
    assert quiet.run(lambda: 3) == 3


def test_run_when_there_is_something_to_do_meanwhile_then_it_is_done_on_the_thread_that_waits() -> None:
    quiet, done = QuietThread(), threading.Event()
    seen: list[int] = []

    def meanwhile() -> None:
        seen.append(threading.get_ident())
        if len(seen) == 3:
            done.set()

    assert quiet.run(lambda: done.wait(60), meanwhile=meanwhile, every_s=0.001)
    assert set(seen) == {threading.get_ident()}
