"""The real parts of a run, started, killed and started again: one Redis, three workers, an API of two processes."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import redis

from ferry.local.readiness import wait_until_ready
from ferry.local.redis_server import HOST
from ferry.manifest import Manifest
from ferry.queue import keys
from ferry.queue.connection import connect
from ferry.settings import NAMESPACE
from tests.chaos import model
from tests.chaos.redis_part import COMES_UP_S, PartError, Redis, free_port, wait_for
from tests.namespaces import KEYS
from tests.processes import Process

N_WORKERS = 3
API_PROCESSES = 2
LEASE_S = 2.0
MAX_ATTEMPTS = 3
# No record is forgotten while a run lasts; at its end they are aged.
RESULT_TTL_S = 7 * 86_400
DRAINS_S = 40.0


class Parts:
    """Everything that runs, and the means to end each and start it again. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = model.publish(folder / "models")
        self.redis = Redis(folder / "redis", folder / "redis.log")
        api_port = free_port()
        self.api_url = f"http://{HOST}:{api_port}"
        self.workers: list[Process] = []
        self.api: Process | None = None
        self._n_started = 0
        self._env = {
            "FERRY_REDIS_URL": self.redis.url, "FERRY_MODELS_DIR": str(folder / "models"),
            "FERRY_DATA_DIR": str(folder / "data"), "FERRY_LEASE_S": str(LEASE_S),
            "FERRY_MAX_ATTEMPTS": str(MAX_ATTEMPTS), "FERRY_RESULT_TTL_S": str(RESULT_TTL_S),
            "FERRY_API_HOST": HOST, "FERRY_API_PORT": str(api_port), "FERRY_API_PROCESSES": str(API_PROCESSES),
            "FERRY_LOG_LEVEL": "info",
        }  # fmt: skip

    def start(self) -> None:
        """Start all; returns when all are up."""
        self.redis.start()
        self.start_api()
        names = [self.launch_worker(slot) for slot in range(N_WORKERS)]
        for name in names:
            self.wait_for_worker(name)
        self.wait_for_api()

    def client(self) -> "redis.Redis":
        """Return a Redis client of one's own; it does not try again by itself."""
        return connect(self.redis.url, NAMESPACE).redis

    # --- workers

    def launch_worker(self, slot: int) -> str:
        """Start a worker in a slot without waiting for it; returns its name."""
        self._n_started += 1
        name = f"w{self._n_started}"
        process = Process("worker", {**self._env, "FERRY_WORKER_NAME": name}, self.folder / f"worker-{name}.log")
        self.workers[slot : slot + 1] = [process]
        return name

    def wait_for_worker(self, name: str) -> None:
        """Return once a worker says that it serves."""
        live = KEYS.live + keys.model_key(self.manifest.name, self.manifest.version)

        def is_heard_of() -> bool:
            try:
                with self.client() as client:
                    return any(member.startswith(f"{name}-".encode()) for member in client.zrange(live, 0, -1))
            except (redis.ConnectionError, redis.TimeoutError):
                return False

        wait_for(is_heard_of, COMES_UP_S, f"worker {name} serves, see {self.folder}/worker-{name}.log")

    def drain_worker(self, slot: int) -> None:
        """Ask a worker to end.

        Raises:
            PartError: it does not, or not in good order.
        """
        _end_in_good_order(self.workers[slot], "a worker")

    # --- API

    def start_api(self) -> None:
        """Start the API without waiting for it."""
        self.api = Process("api", self._env, self.folder / "api.log")

    def wait_for_api(self) -> None:
        """Return once the API serves."""
        fault = wait_until_ready([f"{self.api_url}/v2/health/ready"], COMES_UP_S)
        if fault:
            raise PartError(f"{fault}, see {self.folder}/api.log")

    # --- all

    def fallen(self) -> list[str]:
        """Return what runs no more and should."""
        return [what for what, process in self._processes() if not process.is_running()]

    def _processes(self) -> list[tuple[str, Process]]:
        return [(each.log.stem, each) for each in (*self.workers, self.api) if each]

    def stop(self) -> list[str]:
        """Ask workers and API to end; returns who did not, or not in good order."""
        complaints = []
        for what, process in self._processes():
            try:
                _end_in_good_order(process, what)
            except PartError as error:
                complaints.append(str(error))
        return complaints

    def end(self) -> None:
        """Kill what still runs."""
        for _, process in self._processes():
            kill_group(process)
        self.redis.kill()


def kill_group(process: Process) -> None:
    """Kill a process and those it started, and take its status."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_in_good_order(process: Process, what: str) -> None:
    process.signal(signal.SIGTERM)
    wait_for(lambda: not process.is_running(), DRAINS_S, f"{what} ends after SIGTERM, see {process.log}")
    if status := process.wait():
        raise PartError(f"{what} ended with status {status} after SIGTERM, see {process.log}")
