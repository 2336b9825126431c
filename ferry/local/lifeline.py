"""Ends a child process when its parent is gone, SIGKILL included (Linux). Knows nothing of what the child does.

Run as a script it arms itself and then becomes another program: see `lifeline_command`.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
CANNOT_START = 127  # as shells say it


def die_with_parent(parent_pid: int, signum: int) -> None:
    """Have the kernel send `signum` to this process when its parent dies. For `preexec_fn` and forked children.

    Without Linux's prctl it does nothing: there, parts outlive a `ferry up` that was killed with SIGKILL.
    Source: prctl(2). The signal comes when the *thread* that forked ends, so fork from the main thread.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)
    # The parent may have died before the call above; then nobody would send the signal.
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signum)


def lifeline_command(command: Sequence[str], signum: int = signal.SIGKILL) -> tuple[str, ...]:
    """Return what runs `command` in a child of this process that gets `signum` when this process dies.

    For Popen beside threads: a `preexec_fn` would run Python between fork and exec, where a lock that another thread
    held stays shut for ever. This arms the lifeline after an exec instead, in 20 ms, and keeps the pid.
    """
    # Without site-packages and the environment's wishes: nothing but the standard library is needed.
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signum)), *command)


def become(parent_pid: int, signum: int, command: Sequence[str]) -> int:
    """Replace this process with `command`, which gets `signum` when the parent dies; returns a status if it cannot."""
    die_with_parent(parent_pid, signum)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these two, and the next program would inherit that
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
