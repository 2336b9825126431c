import os
import signal
import subprocess
import sys

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


def test_command_when_run_becomes_the_program_under_the_same_pid() -> None:
    command = lifeline.lifeline_command(
        (sys.executable, "-c", "import os, sys; print(os.getpid(), *sys.argv)", "-x", "")
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate()
    assert out == f"{process.pid} -c -x \n"


def test_command_when_run_leaves_the_signals_as_a_shell_would() -> None:
    done = subprocess.run(lifeline.lifeline_command(("/bin/sh", "-c", "kill -PIPE $$; echo alive")), check=False)
    assert done.returncode == -signal.SIGPIPE


def test_command_when_the_program_is_missing_names_it() -> None:
    command = lifeline.lifeline_command(("/nowhere/worker",))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "/nowhere/worker: No such file or directory\n")


def armed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Keep the kernel and this process out of it."""
    sent: list[tuple[int, int]] = []

    class FakeLibrary:
        def __init__(self, name: None) -> None:
            self.prctl = lambda option, value: 0

    monkeypatch.setattr("ctypes.CDLL", FakeLibrary)
    monkeypatch.setattr("os.kill", lambda pid, signum: sent.append((pid, signum)))
    return sent
