import os
import signal

import pytest

from ferry.local.stop_signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_while_entered_are_counted(number: int) -> None:
    with StopSignals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        signal.raise_signal(number)
    assert stop.count == 2


def test_signals_when_left_have_their_handlers_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with StopSignals():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_signals_when_started_by_nohup_leave_the_hang_up_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_in_a_forked_child_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopSignals() as stop:
        monkeypatch.setattr("os.getpid", lambda: 1)
        signal.raise_signal(signal.SIGINT)
        assert not stop.is_set()
