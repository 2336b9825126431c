"""How many processor cores this process may use: its affinity, and the CPU quota of its cgroups (versions 1 and 2).

Sources: sched_getaffinity(2), cgroups(7), proc_pid_mountinfo(5), the kernel's cgroup-v2.rst and sched-bwc.rst.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
# Quotas are written in microseconds: 2 cores may be 199,999 of 100,000.
_ROUNDING = 0.01


def available_cores(proc: Path = PROC) -> int:
    """Return the whole cores of this process, at least one; in a container or under `taskset` fewer than the machine's.

    A quota of 1.5 cores counts as one: two threads would use it up after three quarters of each period, and all of a
    model's run waits then for the one that was stopped. The half is left to the process's other threads.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(proc)
    return cores if quota is None else max(1, min(cores, math.floor(quota + _ROUNDING)))


def cpu_quota(proc: Path = PROC) -> float | None:
    """Return the least CPU quota of the cgroups that this process is in, in cores; None where there is none."""
    quotas = (_quota_at(folder) for folder in _cpu_cgroups(proc))
    return min((quota for quota in quotas if quota is not None), default=None)


def _cpu_cgroups(proc: Path) -> Iterator[Path]:
    """Return the folders of this process's cgroups with a CPU controller, and of all that those are in."""
    own = _own_paths(_read(proc / "self" / "cgroup"))
    for line in _read(proc / "self" / "mountinfo").splitlines():
        before, separator, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if not separator or len(fields) < 5 or len(described) < 3:
            continue
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(described[0])
        if controller is None or (controller and controller not in described[2].split(",")):
            continue
        root, mount = fields[3], Path(fields[4].replace("\\040", " "))
        path = own.get(controller, "/")
        # A container sees its own cgroup at the mount, whatever the host calls it.
        is_below = path == root or path.startswith(root.rstrip("/") + "/")
        below = path[len(root.rstrip("/")) :].strip("/") if is_below else ""
        folder = mount / below if ".." not in below.split("/") else mount
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(mount))


def _own_paths(text: str) -> dict[str, str]:
    """Return the paths of this process's cgroups by controller; that of version 2 under the empty name."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def _quota_at(folder: Path) -> float | None:
    """Return the quota of one cgroup in cores; None where it has none."""
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    # "max" and -1 mean none.
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
