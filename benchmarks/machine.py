"""What the figures were taken on: machine, versions, commit."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.places import ROOT

PACKAGES = ("celery", "fastapi", "kombu", "numpy", "onnxruntime", "orjson", "redis", "uvicorn", "uvloop")


def describe() -> dict[str, Any]:
    """Return the machine, our packages' versions, the date and the commit."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "is_clean": not _git("status", "--porcelain", "--", "api", "ferry", "worker", "models"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": cores(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_before": load_average(),
        },
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def busy_seconds() -> float:
    """Return the processor time that all programs of this machine have used so far, the hypervisor's steal included.

    Source: proc_stat(5), the first line: user, nice, system, idle, iowait, irq, softirq, steal.
    """
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def load_average() -> float:
    """Return how many programs wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()
