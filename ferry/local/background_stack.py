"""A quiet `ferry up` in a process of its own, for programs that need a whole Ferry for a while."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from ferry.errors import FerryError
from ferry.local.data_dir import RunInfo, read_run_info
from ferry.local.lifeline import die_with_parent
from ferry.local.part_manager import GRACE_S
from ferry.local.private_files import tail_of
from ferry.local.stack import READY_TIMEOUT_S

POLL_S = 0.05
# `ferry up` itself gives up after READY_TIMEOUT_S and then stops its parts, which is bounded too.
START_TIMEOUT_S = READY_TIMEOUT_S + GRACE_S + 30.0
STOP_TIMEOUT_S = GRACE_S + 35.0


class StackFailedError(FerryError):
    """The stack did not start, or ended by itself; the detail holds what it said."""

    code = "stack_failed"
    title = "The stack failed"


# The process that starts it talks to it from here, and has no API key.
_OF_ITS_OWN = {"FERRY_API_HOST": "127.0.0.1", "FERRY_API_KEYS": "off"}


class BackgroundStack:
    """`start` it, use the addresses it returns, `stop` it."""

    def __init__(self, data_dir: Path) -> None:
        self.log = data_dir / "up.log"
        self._data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RunInfo:
        """Start it and wait until it is ready. Call it from the main thread.

        Raises:
            StackFailedError: when it ends instead, or is not ready in time.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ferry.cli.main", "up", "--quiet"],
                env=os.environ | {"FERRY_DATA_DIR": str(self._data_dir.absolute())} | _OF_ITS_OWN,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the addresses, which run.json has too
                stderr=log,
                # Ctrl-C in the terminal is for the caller, who stops the stack in its own time.
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - no thread lives yet
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline_s:
            if info := read_run_info(self._data_dir):
                return info
            time.sleep(POLL_S)
        self.stop()
        raise self._failure("the stack did not start")

    def check(self) -> None:
        """Raise StackFailedError when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise self._failure("the stack ended by itself")

    def _failure(self, what: str) -> StackFailedError:
        return StackFailedError("\n  ".join([f"{what}:", *tail_of(self.log)]))

    def stop(self) -> None:
        """End it and everything it started; fine where it has ended. A Ctrl-C meanwhile makes it a hard end."""
        if self._process is None:
            return
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        self._process.terminate()  # does nothing where it has ended
        while self._process.poll() is None and time.monotonic() < deadline_s:
            try:
                time.sleep(POLL_S)
            except KeyboardInterrupt:
                self._process.terminate()  # the second request: `ferry up` kills its parts
        if self._process.poll() is None:
            self._process.kill()  # its parts and its Redis die with it
        self._process.wait()
