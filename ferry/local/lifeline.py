"""Ends a child process when its parent is gone, SIGKILL included (Linux). Knows nothing of what the child does."""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


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
