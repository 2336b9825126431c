"""The same JSONL through Ray Data and through a Celery group, each in an environment of its own, started anew."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bulk.plan import N_PROCESSES
from benchmarks.environments import environment
from benchmarks.places import PEERS
from benchmarks.processes import ProcessFailedError, running
from ferry.local.redis_server import RedisServer

LINES_PER_TASK = 1_000
JOB_TIMEOUT_S = 600.0
POLL_S = 0.2
RESULT = '{"rows"'


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What one run took, by what the clock covers, and its files of answers."""

    seconds: dict[str, float]
    parts: list[Path]


def ray_data(folder: Path, model: Path, source: Path) -> PeerRun:
    """Run the Ray Data job once, after one run to warm up.

    Its clock for the comparison starts with the first batch, since planning and placing tasks count as its start-up.
    """
    home = environment("ray_data")
    # Its sockets' paths may have 107 characters.
    env = _env("ray_data", home, model) | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder / "r")}
    (folder / "r").mkdir()
    command = [
        str(home / "bin" / "python"), str(PEERS / "ray_data" / "job.py"), str(source), str(folder / "out"),
        str(N_PROCESSES), "1",
    ]  # fmt: skip
    return _run(command, folder, env, {"from_first_batch_s", "job_s"})


def celery_group(folder: Path, model: Path, source: Path) -> PeerRun:
    """Run the Celery group once, after one run to warm up."""
    home = environment("celery_group")
    with ExitStack() as stack:
        server = RedisServer(folder / "redis", folder / "redis.log")
        stack.callback(server.stop)
        server.start()
        env = _env("celery_group", home, model) | {"BENCH_REDIS_URL": server.url}
        worker = [
            str(home / "bin" / "celery"), "-A", "tasks", "worker", "--pool=prefork", f"--concurrency={N_PROCESSES}",
            "--loglevel=warning",
        ]  # fmt: skip
        stack.enter_context(running(worker, log=folder / "worker.log", cwd=folder, env=env))
        command = [
            str(home / "bin" / "python"), str(PEERS / "celery_group" / "job.py"), str(source), str(folder / "out"),
            str(LINES_PER_TASK), "1",
        ]  # fmt: skip
        return _run(command, folder, env, {"job_s"})


PEER_JOBS: dict[str, Callable[[Path, Path, Path], PeerRun]] = {"ray_data": ray_data, "celery_group": celery_group}
LABELS = {"ray_data": "Ray Data, map_batches", "celery_group": "Celery, group of tasks"}
# What of a peer's seconds the bars compare.
CLOCKS = {"ray_data": "from_first_batch", "celery_group": "job"}


def _env(peer: str, home: Path, model: Path) -> dict[str, str]:
    return {
        "BENCH_MODEL": str(model), "PYTHONPATH": f"{PEERS / peer}:{PEERS}",
        "PATH": f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
    }  # fmt: skip


def _run(command: Sequence[str], folder: Path, env: Mapping[str, str], clocks: set[str]) -> PeerRun:
    """Run a job until it has printed its result, then end it and what it started."""
    with running(command, log=folder / "job.log", cwd=folder, env=env) as process:
        give_up_s = time.monotonic() + JOB_TIMEOUT_S
        while (found := read_result(process.log.read_text(errors="replace"))) is None:
            process.check()
            if time.monotonic() > give_up_s:
                raise ProcessFailedError(f"no result after {JOB_TIMEOUT_S:g} s:\n{process.tail()}")
            time.sleep(POLL_S)
    return PeerRun({name: round(found[name], 6) for name in sorted(clocks)}, [Path(part) for part in found["parts"]])


def read_result(log: str) -> dict[str, Any] | None:
    """Return the result that a job has printed, if its line is whole."""
    for line in log.splitlines(keepends=True):
        if line.startswith(RESULT) and line.endswith("\n"):
            found: dict[str, Any] = json.loads(line)
            return found
    return None
