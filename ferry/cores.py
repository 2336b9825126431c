"""How many processor cores this process may use."""

import os


def available_cores() -> int:
    """Return the cores of this process, which in a container or under `taskset` are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
