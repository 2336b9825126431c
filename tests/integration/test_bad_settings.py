"""Every entry point with every kind of bad setting: one line that names the setting, and never a traceback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import GIVE_UP_S, ROOT

REDIS = "redis://127.0.0.1:1/0"
UP = ("-m", "ferry.cli.main", "up")
MODELS = ("-m", "ferry.cli.main", "models", "list")
QUEUES = ("-m", "ferry.cli.main", "queue", "list")
BATCH = ("-m", "ferry.cli.main", "batch", "list")
API = ("-m", "api")
WORKER = ("-m", "worker")
INSPECT = ("-m", "celery", "-A", "worker.app", "inspect", "ping")
FLOWER = ("-m", "celery", "-A", "worker.app", "flower")
TRAINING = ("-m", "training.train", "--data", "synthetic")
ALL = (UP, MODELS, QUEUES, BATCH, API, WORKER, INSPECT, FLOWER)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def said(command: tuple[str, ...], folder: Path, **settings: str) -> str:
    """Return the line on stderr of an entry point that must not start."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FERRY_")}
    env |= {
        "FERRY_REDIS_URL": REDIS,
        "FERRY_DATA_DIR": str(folder / "data"),
        "FERRY_MODELS_DIR": str(folder / "models"),
    }
    done = subprocess.run(
        [sys.executable, *command],
        env=env | {"PYTHONPATH": str(ROOT)} | settings,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode not in (0, -9), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    # A worker that looked for Redis before may have logged that it is away.
    *before, line = done.stderr.strip().splitlines()
    assert all("Redis does not answer" in each for each in before), done.stderr
    return line


@pytest.mark.parametrize("command", ALL, ids=lambda command: " ".join(command[1:]))
def test_entry_point_when_settings_are_bad_then_one_line_names_them(tmp_path: Path, command: tuple[str, ...]) -> None:
    bad = {"FERRY_ORT_THREADS": "half", "FERRY_API_PORT": "-1", "FERRY_REDIS_URL": "redis://:pa/ss@host:port"}
    line = said(command, tmp_path, **bad)
    assert "FERRY_ORT_THREADS='half': Input should be a valid integer" in line
    assert "FERRY_API_PORT='-1': Input should be greater than or equal to 0" in line
    assert "FERRY_REDIS_URL=...: Value error, is no address" in line
    assert "ss@" not in line


@pytest.mark.parametrize(
    ("command", "settings", "reason"),
    [
        (API, {"FERRY_REDIS_URL": ""}, "api: FERRY_REDIS_URL is not set"),
        (WORKER, {"FERRY_API_PORTT": "1"}, "worker: unknown settings: FERRY_API_PORTT (did you mean FERRY_API_PORT?)"),
        (FLOWER, {"FERRY_REDIS_URL": ""}, "worker: FERRY_REDIS_URL is not set"),
        (API, {"FERRY_API_HOST": "192.0.2.1"}, "api: the API cannot listen on 192.0.2.1:8000 (FERRY_API_HOST"),
        (API, {"FERRY_STORAGE_URL": "nosuch://x"}, "api: FERRY_STORAGE_URL or FERRY_STORAGE_OPTIONS: Protocol"),
        (WORKER, {"FERRY_MODELS_URL": "nosuch://x"}, "worker: FERRY_MODELS_URL or FERRY_STORAGE_OPTIONS: Protocol"),
        (WORKER, {"FERRY_MODELS_DIR": "/dev/null"}, "worker: FERRY_MODELS_DIR=/dev/null: Not a directory; name"),
        (MODELS, {"FERRY_MODELS_DIR": "/dev/null"}, "ferry: FERRY_MODELS_DIR=/dev/null: Not a directory; name"),
        (WORKER, {"FERRY_ALIVE_FILE": "/proc/none/alive"}, "worker: FERRY_ALIVE_FILE=/proc/none/alive cannot be"),
        (UP, {"FERRY_DATA_DIR": "/dev/null"}, "ferry: FERRY_DATA_DIR=/dev/null: File exists; name a folder"),
        (TRAINING, {"FERRY_ORT_THREADS": "x", "FERRY_MODELS_DIR": "/dev/null/x"}, "error: "),
    ],
)  # fmt: skip
def test_entry_point_when_a_place_cannot_be_used_then_one_line_names_the_setting(
    tmp_path: Path, command: tuple[str, ...], settings: dict[str, str], reason: str
) -> None:
    assert reason in said(command, tmp_path, **settings)


def test_entry_point_when_its_port_is_taken_then_one_line_names_the_setting(tmp_path: Path, taken_port: int) -> None:
    port = str(taken_port)
    assert "FERRY_API_PORT): Address already in use" in said(API, tmp_path, FERRY_API_PORT=port)
    assert "FERRY_METRICS_PORT): [Errno 98]" in said(WORKER, tmp_path, FERRY_METRICS_PORT=port)
