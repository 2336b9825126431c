"""A thread of lower priority, and what it hands back."""

import os
import threading

import pytest

from worker.bulk.quiet_thread import NICENESS, QuietThread


def policy() -> tuple[int, int]:
    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_run_when_carried_out_then_on_a_thread_that_runs_when_no_other_wants_to() -> None:
    quiet = QuietThread()
    ident, seen = quiet.run(lambda: (threading.get_ident(), policy()))
    assert ident != threading.get_ident()
    assert seen[0] == os.SCHED_IDLE
    assert os.sched_getscheduler(0) != os.SCHED_IDLE
    assert quiet.run(lambda: (threading.get_ident(), policy())) == (ident, seen)


@pytest.mark.parametrize("error", [AttributeError("sched_setscheduler"), PermissionError("not here")])
def test_run_when_a_thread_cannot_be_idle_then_it_is_nice(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    _, own = policy()
    scheduler, niceness = QuietThread().run(policy)
    assert (scheduler, niceness) == (os.sched_getscheduler(0), NICENESS)
    assert own < niceness


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
