"""Ferry under test: all of `ferry up` with one worker, asked with `Prefer: wait`."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import redis

from benchmarks.digits import Pixels
from benchmarks.machine import cores
from benchmarks.places import MODELS, ROOT, free_port
from benchmarks.processes import Process, running
from benchmarks.setting import count_words
from benchmarks.system import JSON_TYPE, System, best
from ferry.local.data_dir import RunInfo, read_run_info

Durability = Literal["always", "everysec", "none"]

START_TIMEOUT_S = 90.0
POLL_S = 0.05
PATH = "/v1/predictions"
WAITING = (*JSON_TYPE, ("Prefer", "wait"))


@contextmanager
def stack(
    folder: Path, *, models_dir: Path = MODELS, durability: Durability = "everysec", **settings: str
) -> Iterator[RunInfo]:
    """Run `ferry up` with one worker and its embedded Redis on a fresh data folder.

    `durability` is the Redis's `appendfsync`, or "none" for no append-only file; `settings` are further FERRY_
    settings by their names in lower case.
    """
    env = {
        "FERRY_DATA_DIR": str(folder / "data"), "FERRY_MODELS_DIR": str(models_dir), "FERRY_REDIS_URL": "",
        "FERRY_WORKERS": "1", "FERRY_API_PORT": str(free_port()), "FERRY_FLOWER_PORT": str(free_port()),
        "FERRY_LOG_LEVEL": "warning",
    }  # fmt: skip
    env |= {f"FERRY_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "ferry.cli.main", "up", "--quiet"]
    with running(command, log=folder / "ferry.log", cwd=ROOT, env=env) as process:
        info = _wait_for(process, folder)
        if durability != "everysec":  # what `ferry up` starts with
            with redis.Redis.from_url(info.redis_url) as client:
                client.config_set(*(("appendonly", "no") if durability == "none" else ("appendfsync", durability)))
        yield info


def run_info(folder: Path) -> RunInfo | None:
    """Return the addresses of the stack that runs on this folder, if one does."""
    return read_run_info(folder / "data")


def _wait_for(process: Process, folder: Path) -> RunInfo:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        process.check()
        if info := run_info(folder):
            return info
        time.sleep(POLL_S)
    raise TimeoutError(f"ferry up was not ready after {START_TIMEOUT_S:g} s:\n{process.tail()}")


@contextmanager
def _serving(folder: Path, *, durability: Durability, **settings: str) -> Iterator[str]:
    with stack(folder, durability=durability, **settings) as info:
        yield info.api_url


def body(pixels: Pixels) -> dict[str, Any]:
    """Return the body of a job of one row."""
    return {"version": "mnist", "input": {"x": [pixels]}}


def _digit(answer: Mapping[str, Any]) -> int:
    return best(answer["output"]["probabilities"][0])


def _ferry(
    name: str, label: str, keeps_jobs: str, setting: str, durability: Durability = "everysec", **settings: str
) -> System:
    return System(
        name=name, label=label, keeps_jobs=keeps_jobs, path=PATH, headers=WAITING, make_body=body, read_digit=_digit,
        run=partial(_serving, durability=durability, **settings), setting=setting,
    )  # fmt: skip


_DEFAULT = f"1 worker, {count_words(cores(), 'API process')}"
FERRY = _ferry("ferry", "Ferry", "kept", f"{_DEFAULT}, fsync every second")
FERRY_ALWAYS = _ferry("ferry_always", "Ferry, fsync always", "kept", f"{_DEFAULT}, fsync before each answer", "always")
FERRY_NO_AOF = _ferry("ferry_no_aof", "Ferry without AOF", "kept unless Redis dies", f"{_DEFAULT}, no AOF", "none")
FERRY_ONE_API = _ferry(
    "ferry_one_api", "Ferry with one API process", "kept", "1 worker, 1 API process, fsync every second",
    api_processes="1",
)  # fmt: skip
FERRIES = (FERRY, FERRY_ALWAYS, FERRY_NO_AOF, FERRY_ONE_API)
