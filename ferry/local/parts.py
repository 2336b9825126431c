"""The parts of a stack and how each is started. Knows nothing of who runs them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ferry.cores import available_cores
from ferry.settings import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """One process: name, command, and what is added to the environment (secrets go there, not into `command`)."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    is_needed: bool = True  # the stack does not come up without it


@dataclass(frozen=True, slots=True)
class Addresses:
    """What was decided at start: where Redis is, and which ports the API and Flower got."""

    redis_url: str
    api_port: int
    api_url: str
    flower_port: int
    flower_url: str
    public_flower_url: str  # what the API tells users; differs behind a proxy


def parts_of_stack(settings: Settings, addresses: Addresses, data_dir: Path) -> tuple[Part, ...]:
    """Return API, workers and Flower."""
    shared = {
        "FERRY_REDIS_URL": addresses.redis_url,
        "FERRY_DATA_DIR": str(data_dir),
        "FERRY_MODELS_DIR": str(settings.models_dir.absolute()),
        "FERRY_API_HOST": settings.api_host,
        "FERRY_API_PORT": str(addresses.api_port),
        "FERRY_FLOWER_URL": addresses.public_flower_url,
        "PYTHONUNBUFFERED": "1",  # or a part's last lines are lost with it
    }
    workers = (
        Part(name, (sys.executable, "-m", "worker"), shared | _own(settings, name, number))
        for number, name in enumerate(worker_names(settings))
    )
    api = Part("api", (sys.executable, "-m", "api"), shared)
    flower = flower_command(settings.flower_host, addresses.flower_port)
    # Flower only shows things: jobs are accepted and run without it.
    return (api, *workers, Part("flower", flower, shared, is_needed=False))


def _own(settings: Settings, name: str, number: int) -> dict[str, str]:
    """Return what differs from worker to worker: its name, and the port of its metrics where one is set."""
    own = {"FERRY_WORKER_NAME": name}
    if settings.metrics_port:
        own["FERRY_METRICS_PORT"] = str(settings.metrics_port + number)
    return own


def worker_names(settings: Settings) -> tuple[str, ...]:
    """Return `worker-1` and so on: as many as set, else one per core this process may use."""
    n_workers = settings.workers or available_cores()
    return tuple(f"worker-{number}" for number in range(1, n_workers + 1))


def flower_command(host: str, port: int) -> tuple[str, ...]:
    """Return the command of a Flower that can only look (Redis' address comes from worker.app's environment)."""
    options = (f"--address={host}", f"--port={port}", "--read_only", "--purge_offline_workers=120", "--logging=error")
    return (sys.executable, "-m", "celery", "-A", "worker.app", "flower", *options)
