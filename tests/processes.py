"""Starts the product's processes for tests, waits for them by their own signs, and ends what it started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# A bound for a broken machine, never an expectation.
GIVE_UP_S = 60.0
POLL_S = 0.05
ROOT = Path(__file__).parent.parent


def eventually(condition: Callable[[], object], what: str, *, give_up_s: float = GIVE_UP_S) -> None:
    """Return as soon as the condition holds."""
    give_up = time.monotonic() + give_up_s
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting: {what}"
        time.sleep(POLL_S)


class Process:
    """One process of the product, its output in a file."""

    def __init__(self, module: str, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def output(self) -> str:
        return self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Return its exit status when it has ended; a test that gives up shows what it said last."""
        try:
            return self._popen.wait(timeout=GIVE_UP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {GIVE_UP_S} s:\n{self.output[-4000:]}") from None

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def end(self) -> None:
        """End it, gently first."""
        if self.is_running():
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait(timeout=15)


@contextmanager
def running(module: str, env: Mapping[str, str], log: Path) -> Iterator[Process]:
    """Run one process until the context ends."""
    process = Process(module, env, log)
    try:
        yield process
    finally:
        process.end()
