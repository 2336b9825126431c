"""Redis, API and stand-in workers with the product's own code; the device takes a fixed time a batch and no CPU."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

from benchmarks.places import HOST, ROOT, free_port
from benchmarks.processes import Process, descendants, running
from benchmarks.queue_keys import KEYS
from benchmarks.stand_in_model import NAME, VERSION, write_repository
from ferry.local.redis_server import RedisServer
from ferry.queue.keys import model_key

START_TIMEOUT_S = 60.0
# Where stand-in workers write down what they ran.
TALLY = "STAND_IN_TALLY"
POLL_S = 0.05
KEY = model_key(NAME, VERSION)


@dataclass(frozen=True, slots=True)
class StandInStack:
    """What runs, and where."""

    api_url: str
    redis_url: str
    redis: redis.Redis
    api: Process
    workers: tuple[Process, ...]

    def waiting_rows(self) -> int:
        """Return how many rows wait."""
        return int(self.redis.hget(KEYS.backlog + KEY, "rows") or 0)

    def used_memory(self) -> int:
        """Return the bytes Redis has allocated."""
        return int(self.redis.info("memory")["used_memory"])

    def api_rss(self) -> int:
        """Return the resident bytes of the API's processes together."""
        return sum(rss_of(pid) for pid in (self.api.pid, *(pid for pid, _ in descendants(self.api.pid))))

    def worker_rss(self) -> int:
        """Return the resident bytes of the workers together."""
        return sum(rss_of(worker.pid) for worker in self.workers)


@contextmanager
def stand_in_stack(
    folder: Path, *, run_s: float, n_workers: int = 1, n_apis: int = 1, **settings: str
) -> Iterator[StandInStack]:
    """Run everything on an empty folder; `settings` are FERRY_ settings by their names in lower case."""
    models = folder / "models"
    write_repository(models)
    server = RedisServer(folder / "redis", folder / "redis.log")
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        port = free_port()
        env = {
            "FERRY_REDIS_URL": server.url, "FERRY_MODELS_DIR": str(models), "FERRY_DATA_DIR": str(folder / "data"),
            "FERRY_API_HOST": HOST, "FERRY_API_PORT": str(port), "FERRY_LOG_LEVEL": "warning",
            "STAND_IN_RUN_S": str(run_s),
        }  # fmt: skip
        env |= {name: value for name, value in os.environ.items() if name == TALLY}
        env |= {f"FERRY_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "benchmarks.stand_in_worker"]
        workers = tuple(
            stack.enter_context(running(command, log=folder / f"worker-{number}.log", cwd=ROOT, env=env))
            for number in range(n_workers)
        )
        command = [sys.executable, "-m", "api", "--workers", str(n_apis)]
        api = stack.enter_context(running(command, log=folder / "api.log", cwd=ROOT, env=env))
        client = stack.enter_context(redis.Redis.from_url(server.url))
        running_now = StandInStack(f"http://{HOST}:{port}", server.url, client, api, workers)
        _wait_until_served(running_now, n_workers)
        yield running_now


def rss_of(pid: int) -> int:
    """Return a process's resident bytes; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = next((line for line in text.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) * 1024


def _wait_until_served(stack: StandInStack, n_workers: int) -> None:
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s:
        for process in (stack.api, *stack.workers):
            process.check()
        try:
            body = httpx.get(f"{stack.api_url}/v1/models/{NAME}", timeout=2).json()
            if body["latest_version"]["live_workers"] == n_workers:
                return
        except (httpx.HTTPError, KeyError):
            pass
        time.sleep(POLL_S)
    raise TimeoutError(f"not served after {START_TIMEOUT_S:g} s:\n{stack.api.tail()}")
