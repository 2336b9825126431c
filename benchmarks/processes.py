"""Processes of a system under test: started in a session of their own, ended by pid, whatever they started included.

Knows nothing of what the processes do. Linux only (/proc).
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ferry.local.lifeline import die_with_parent

TERM_TIMEOUT_S = 15.0
POLL_S = 0.05
TAIL_LINES = 12
# Of the caller's environment only this much: a Python path or a FERRY_ setting of the shell must not reach a peer.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")

Identity = tuple[int, str]  # pid and start time: a pid alone may have been given to another process meanwhile


class ProcessFailedError(RuntimeError):
    """A process ended, or was not ready in time; the message holds the last lines of its log."""


class Process:
    """One process with a log; `stop` ends it and all its descendants."""

    def __init__(self, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self.log = log
        self._name = log.stem
        log.parent.mkdir(parents=True, exist_ok=True)
        base = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with log.open("wb") as file:
            self._popen = subprocess.Popen(
                command, cwd=cwd, env=base | {"PYTHONUNBUFFERED": "1"} | dict(env),
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - main thread only
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def check(self) -> None:
        """Raise ProcessFailedError when it has ended."""
        if self._popen.poll() is not None:
            raise ProcessFailedError(f"{self._name} ended with status {self._popen.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])

    def stop(self) -> None:
        """End it with SIGTERM, and what is left of it and its descendants after a bound with SIGKILL."""
        family = descendants(self.pid)
        with suppress(ProcessLookupError):
            self._popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(TERM_TIMEOUT_S)
        deadline_s = time.monotonic() + 2.0
        while (left := [each for each in family if _is_alive(each)]) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        for pid, _ in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait(TERM_TIMEOUT_S)


@contextmanager
def running(command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> Iterator[Process]:
    """Run a process while the context lasts."""
    process = Process(command, log=log, cwd=cwd, env=env)
    try:
        yield process
    finally:
        process.stop()


def descendants(pid: int) -> list[Identity]:
    """Return every living descendant of a process."""
    children: dict[int, list[Identity]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append((int(folder.name), fields[19]))
    found, parents = [], [pid]
    while parents:
        born = children.get(parents.pop(), [])
        found += born
        parents += [child for child, _ in born]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time that the living descendants of a process have used so far."""
    ticks = 0
    for child, _ in descendants(pid):
        if fields := _stat(child):
            ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


# A word of the command line that names the part of Ferry a process is.
_PARTS = {"api": "API", "worker": "worker", "flower": "Flower", "redis-server": "Redis"}


def cpu_by_part(pid: int) -> dict[str, float]:
    """Return the processor time in seconds that descendants of a process have used so far, by part of Ferry."""
    used: dict[str, float] = {}
    for child, _ in descendants(pid):
        fields = _stat(child)
        try:
            # A Redis writes one line with blanks over its own.
            words = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        names = {word.rpartition("/")[2] for word in words[:6]}
        if "multiprocessing.spawn" in " ".join(words):
            names.add("api")  # one of several, which uvicorn starts so
        part = next((part for word, part in _PARTS.items() if word in names), "other")
        if fields:
            used[part] = used.get(part, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def _is_alive(identity: Identity) -> bool:
    fields = _stat(identity[0])
    return fields is not None and fields[19] == identity[1] and fields[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command's name: state, parent, ..., [19] start time (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
