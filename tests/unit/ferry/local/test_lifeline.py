import os
import signal

import pytest

from ferry.local import lifeline


def test_die_when_the_parent_is_there_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = armed(monkeypatch)
    lifeline.die_with_parent(os.getppid(), signal.SIGKILL)
    assert sent == []


def test_die_when_the_parent_was_faster_sends_the_signal_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = armed(monkeypatch)
    lifeline.die_with_parent(-1, signal.SIGKILL)
    assert sent == [(os.getpid(), signal.SIGKILL)]


def armed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Keep the kernel and this process out of it."""
    sent: list[tuple[int, int]] = []

    class FakeLibrary:
        def __init__(self, name: None) -> None:
            self.prctl = lambda option, value: 0

    monkeypatch.setattr("ctypes.CDLL", FakeLibrary)
    monkeypatch.setattr("os.kill", lambda pid, signum: sent.append((pid, signum)))
    return sent
