"""One turn of a system: started, checked, warmed up, measured, stopped. Knows nothing of what the turns are for."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.digits import digits
from benchmarks.environments import versions
from benchmarks.machine import busy_seconds
from benchmarks.places import WORK
from benchmarks.plan import WARM_UP_CLIENTS
from benchmarks.processes import cpu_seconds
from benchmarks.redis_calls import redis_calls
from benchmarks.system import System, probe
from benchmarks.wrk import Post, load

# What is still under way when wrk closes its connections is done by then.
SETTLE_S = 1.0


def installed(system: System) -> dict[str, str]:
    """Make what a system needs; returns the versions of the packages that matter.

    Raises:
        InstallFailedError, PackageMissingError: saying what is missing.
    """
    system.prepare()
    if not system.packages:
        return {}
    found = versions(WORK / system.name)
    return {name: found.get(name, "?") for name in (*system.packages, "onnxruntime")}


@contextmanager
def started(system: System, warm_up_s: float) -> Iterator[tuple[Post, Path]]:
    """Run a system that has named the sample digits rightly and is warm; yields the request and the turn's folder.

    Raises:
        WrongAnswerError: it read a digit wrongly.
    """
    folder = fresh_folder(system.name)
    with system.run(folder) as base_url:
        probe(system, base_url)
        post = system.post(base_url, digits(1)[0][0])
        load(post, clients=WARM_UP_CLIENTS, seconds=warm_up_s, folder=folder)
        yield post, folder
        time.sleep(SETTLE_S)
    shutil.rmtree(folder, ignore_errors=True)


def measured(post: Post, *, clients: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Return what wrk saw, and the processor time a request of all processes under this one.

    `others_cores` is the processor time of everything else on the machine, in cores: how quiet it was.
    """
    calls, clock_s, system_s = redis_calls(folder), time.monotonic(), cpu_seconds(os.getpid())
    busy_s, own_s = busy_seconds(), _own_seconds()
    seen = load(post, clients=clients, seconds=seconds, folder=folder)
    system_s, busy_s = cpu_seconds(os.getpid()) - system_s, busy_seconds() - busy_s
    others_s = busy_s - system_s - (_own_seconds() - own_s)
    done = max(1, seen.requests)
    figures = seen.to_json() | {
        "cpu_us_per_job": round(system_s / done * 1e6, 1),
        "others_cores": round(max(0.0, others_s / (time.monotonic() - clock_s)), 3),
    }
    return figures | (calls.per_job(redis_calls(folder), done) if calls is not None else {})


def _own_seconds() -> float:
    """Return the processor time of this process and of the load generators that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def fresh_folder(name: str) -> Path:
    """Return an empty folder for the data and logs of one turn."""
    folder = WORK / "run" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
