"""One run of a part: a process in a session of its own, and the lines it writes. Knows nothing of other parts."""

import os
import signal
import subprocess
import time

from ferry.local.lifeline import lifeline_command
from ferry.local.parts import Part

CHUNK_BYTES = 64 * 2**10  # what a pipe holds on Linux
LINE_LIMIT_BYTES = 64 * 2**10  # a longer line is handed on in pieces, so that nothing grows without bound
REST_LIMIT_BYTES = 2**20  # the most a pipe holds (/proc/sys/fs/pipe-max-size); beyond, somebody still writes


class PartProcess:
    """A process that is killed when this one dies. Start it from the main thread; threads may be running.

    Raises:
        OSError: when the system gives no process.
    """

    def __init__(self, part: Part) -> None:
        self._popen = subprocess.Popen(
            lifeline_command(part.command),
            env=os.environ | part.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in the terminal is for `ferry up` alone. Not a session of its own: Linux may give each session an
            # equal share of the processor (autogroup), and the bulk thread's low priority would count for nothing.
            process_group=0,
        )
        assert self._popen.stdout is not None  # noqa: S101 - for the type checker
        self._pipe = self._popen.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._unfinished = b""
        self._started_s = time.monotonic()
        self.pid = self._popen.pid
        self.is_silent = False  # nobody is left who could write a line

    @property
    def ran_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._started_s

    @property
    def status(self) -> int | None:
        """None while it runs, else the exit status (negative: the signal that ended it)."""
        return self._popen.poll()

    def fileno(self) -> int:
        """Return the descriptor that turns readable when there are lines, or the end of them."""
        return self._pipe.fileno()

    def read_lines(self) -> bytes:
        """Return the whole lines that can be read now, without waiting; the rest of one when it is the last."""
        if self.is_silent:
            return b""
        try:
            chunk = os.read(self._pipe.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return b""
        whole, newline, unfinished = (self._unfinished + chunk).rpartition(b"\n")
        self.is_silent = not chunk
        if self.is_silent or len(unfinished) >= LINE_LIMIT_BYTES:
            self._unfinished = b""
            return whole + newline + unfinished
        self._unfinished = unfinished
        return whole + newline

    def read_rest(self) -> bytes:
        """Return what an ended process left to be read."""
        lines, n_reads = b"", 0
        while not self.is_silent and n_reads * CHUNK_BYTES < REST_LIMIT_BYTES:
            lines += self.read_lines()
            n_reads += 1
        lines, self._unfinished = lines + self._unfinished, b""
        return lines

    def signal_session(self, number: signal.Signals) -> None:
        """Send a signal to it and to those it started; fine where nobody is left."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS refuses where only zombies are left
            return

    def close(self) -> None:
        """Kill the rest of its session, and take note of its end."""
        self.signal_session(signal.SIGKILL)
        self._popen.wait()
        self._pipe.close()
        self.is_silent = True
