"""A small Ferry of a test's own: a Redis that may be killed, API processes, workers whose batches can be held."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis

from ferry.local.ports import PortWish, choose_ports
from ferry.local.redis_server import RedisServer
from tests.fakes.gated_worker import GATE, entered
from tests.namespaces import KEYS
from tests.processes import GIVE_UP_S, POLL_S, Process, eventually, running

ROW = {"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}}
ANSWER = {"y": [2.0, 4.0, 6.0]}
TOY_KEY = "toy:1"
HOST = "127.0.0.1"
# Short, since tests wait for it to lapse, and long enough for a busy machine to renew it in time.
LEASE_S = 2.0
LONGER_THAN_A_LEASE_S = 5.0


class GatedWorker:
    """A worker and its gate."""

    def __init__(self, process: Process, gate: Path) -> None:
        self.process = process
        self._gate = gate

    def hold(self) -> None:
        """Keep every batch that begins from now on under way."""
        self._gate.touch()

    def wait_until_held(self) -> None:
        """Return when a batch stands at the gate."""
        eventually(entered(self._gate).exists, "a batch is under way")

    def let_go(self) -> None:
        """Let batches end."""
        self._gate.unlink()


class Site:
    """What a test starts, on one Redis."""

    def __init__(self, stack: ExitStack, folder: Path, models: Path, redis_folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._models = models
        self._n_workers = 0
        self.redis = RedisServer(redis_folder, folder / "redis.log")
        self.redis.start()
        stack.callback(self.redis.stop)
        self.direct: redis.Redis = redis.Redis.from_url(self.redis.url, socket_timeout=GIVE_UP_S, decode_responses=True)
        stack.callback(self.direct.close)

    def kill_redis(self) -> None:
        """End Redis as a crash does."""
        assert self.redis._process is not None
        self.redis._process.kill()
        self.redis._process.wait()

    def restart_redis(self) -> None:
        """Start the Redis that was ended again: its port, its data."""
        port = self.redis.port
        self.redis.start()
        assert self.redis.port == port

    def start_worker(self, *, is_held: bool = False, **settings: str) -> GatedWorker:
        """Start a worker, and return when Redis counts it among those who serve `toy`; `is_held`: as after `hold`."""
        self._n_workers += 1
        name = f"worker-{self._n_workers}"
        gate = self._folder / f"{name}.gate"
        env = self._env(FERRY_DATA_DIR=str(self._folder / "data"), FERRY_WORKER_NAME=name, **settings)
        if is_held:  # its first batch may begin before anybody sees that it serves
            gate.touch()
        log = self._folder / f"{name}.log"
        process = self._stack.enter_context(running("tests.fakes.gated_worker", env | {GATE: str(gate)}, log))
        eventually(lambda: any(each.startswith(name) for each in self.live_workers()), "the worker serves")
        return GatedWorker(process, gate)

    def live_workers(self) -> list[str]:
        """Return the names of those who serve `toy`."""
        return self.direct.zrange(KEYS.live + TOY_KEY, 0, -1)

    def start_api(self, **settings: str) -> tuple[Process, httpx.Client]:
        """Start an API that, told to stop, leaves its requests all the time in the world."""
        (port,) = choose_ports(PortWish("API", HOST))
        env = self._env(FERRY_API_PORT=str(port.number), **settings)
        log = self._folder / f"api-{port.number}.log"
        process = self._stack.enter_context(running("tests.fakes.patient_api", env, log))
        client = self.client(port.number)
        eventually(lambda: _status(client, "/v2/health/live") == 200, "the API is live")
        return process, client

    def client(self, port: int) -> httpx.Client:
        """Return a client with connections of its own."""
        return self._stack.enter_context(httpx.Client(base_url=f"http://{HOST}:{port}", timeout=GIVE_UP_S))

    def _env(self, **settings: str) -> dict[str, str]:
        named = {
            "FERRY_REDIS_URL": self.redis.url,
            "FERRY_MODELS_DIR": str(self._models),
            "FERRY_LEASE_S": str(LEASE_S),
        }
        return named | settings

    def job_ids(self) -> set[str]:
        """Return the ids of all jobs that Redis knows."""
        return {key.removeprefix(KEYS.job) for key in self.direct.scan_iter(match=f"{KEYS.job}*", count=1000)}

    def states(self, ids: Iterable[str]) -> set[str]:
        """Return the states that jobs are in; "gone" stands for those that are not there."""
        return {state or "gone" for state in self._field("state", ids)}

    def attempts(self, ids: Iterable[str]) -> set[int]:
        """Return how often jobs were claimed."""
        return {int(attempts or 0) for attempts in self._field("attempts", ids)}

    def _field(self, name: str, ids: Iterable[str]) -> list[str | None]:
        with self.direct.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hget(KEYS.job + job_id, name)
            return pipe.execute()


@contextmanager
def a_site(folder: Path, models: Path, redis_folder: Path | None = None) -> Iterator[Site]:
    """Run a site until the context ends."""
    with ExitStack() as stack:
        yield Site(stack, folder, models, redis_folder or folder / "redis")


def _status(client: httpx.Client, path: str) -> int:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


def accepted(client: httpx.Client, body: dict[str, Any] = ROW) -> str:
    """Submit a job; returns its id."""
    response = client.post("/v1/predictions", json=body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def succeeded(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Poll a job until it is terminal, as a client does; returns its body, which must be a success."""
    give_up = time.monotonic() + 2 * GIVE_UP_S
    while True:
        response = client.get(f"/v1/predictions/{job_id}")
        assert response.status_code in (200, 503), (job_id, response.text)
        if response.status_code == 200 and response.json()["completed_at"]:
            assert response.json()["status"] == "succeeded", response.text
            return response.json()
        assert time.monotonic() < give_up, f"gave up waiting: job {job_id} is terminal; it is {response.text}"
        time.sleep(POLL_S)


def until(condition: Callable[[], object], what: str, doing: Callable[[], object]) -> None:
    """Do something again and again until the condition holds."""
    give_up = time.monotonic() + GIVE_UP_S
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting: {what}"
        doing()


def assert_unavailable(response: httpx.Response, *codes: str) -> str:
    """Check that a response says "not now" as the API promises; returns its words."""
    assert response.status_code == 503, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["code"] in (codes or ("queue_unavailable",))
    return response.json()["detail"]


def freeze(process: Process) -> None:
    """Stop a process where it stands, and return when it does."""
    process.signal(signal.SIGSTOP)
    stat = Path(f"/proc/{process.pid}/stat")
    eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the process stands still")
