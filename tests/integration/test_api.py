"""A real API process on a real Redis: outages, waiting, what it loads."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import redis

from ferry.local.ports import PortWish, choose_ports
from ferry.local.redis_server import RedisServer
from tests.integration.conftest import LEASE_S
from tests.processes import Process, eventually, running

pytestmark = pytest.mark.timeout(300)

ROW = {"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}}
WAIT = {"Prefer": "wait=20"}

Started = tuple[Process, httpx.Client]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop and start."""
    server = RedisServer(tmp_path / "redis", tmp_path / "redis.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_api(models: Path, tmp_path: Path) -> Iterator[Callable[[str], Started]]:
    with ExitStack() as stack:

        def start(redis_url: str, **settings: str) -> Started:
            (port,) = choose_ports(PortWish("API", "127.0.0.1"))
            env = {
                "FERRY_REDIS_URL": redis_url,
                "FERRY_MODELS_DIR": str(models),
                "FERRY_API_PORT": str(port.number),
                "FERRY_LEASE_S": LEASE_S,
                **settings,
            }
            process = stack.enter_context(running("api", env, tmp_path / f"api-{port.number}.log"))
            client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port.number}", timeout=30))
            eventually(lambda: _is_live(client), "the API is live")
            return process, client

        yield start


def _is_live(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def start_worker_on(models: Path, tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    with ExitStack() as stack:

        def start(redis_url: str) -> Process:
            env = {"FERRY_REDIS_URL": redis_url, "FERRY_MODELS_DIR": str(models), "FERRY_LEASE_S": LEASE_S}
            return stack.enter_context(running("worker", env, tmp_path / "worker.log"))

        yield start


def test_api_when_no_worker_lives_then_jobs_are_accepted_and_served_later(
    own_redis: RedisServer, start_api: Callable[..., Started], start_worker_on: Callable[[str], Process]
) -> None:
    _, client = start_api(own_redis.url)
    assert client.get("/v2/health/ready").status_code == 503
    assert client.post("/predict", json={"x": [0.0] * 3, "model": "toy"}).status_code == 503
    accepted = client.post("/v1/predictions", json=ROW)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "starting")
    start_worker_on(own_redis.url)
    done = client.get(accepted.headers["location"], params={"wait": 30}).json()
    assert (done["status"], done["output"]) == ("succeeded", {"y": [2.0, 4.0, 6.0]})
    eventually(lambda: client.get("/v2/health/ready").status_code == 200, "ready")


def test_api_when_redis_dies_then_503_and_all_recovers_by_itself(
    own_redis: RedisServer, start_api: Callable[..., Started], start_worker_on: Callable[[str], Process]
) -> None:
    _, client = start_api(own_redis.url)
    start_worker_on(own_redis.url)
    before = client.post("/v1/predictions", json=ROW, headers=WAIT)
    assert before.status_code == 201
    job_url = before.headers["location"]

    own_redis.stop()
    for response in (
        client.post("/v1/predictions", json=ROW),
        client.post("/v1/predictions", json=ROW, headers=WAIT),
        client.get(job_url),
        client.post(f"{job_url}/cancel"),
        client.get("/v2/health/ready"),
    ):
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["code"] in ("queue_unavailable", "no_worker")
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v1/models").status_code == 200

    own_redis.start()
    eventually(lambda: client.get(job_url).status_code == 200, "the job from before is read again")
    eventually(lambda: client.post("/v1/predictions", json=ROW).status_code == 202, "submits are taken again")
    after = client.post("/v1/predictions", json=ROW, headers={"Prefer": "wait=60"})
    assert (after.status_code, after.json()["output"]) == (201, {"y": [2.0, 4.0, 6.0]})


def test_api_when_redis_is_frozen_then_503_within_its_own_bounds(
    own_redis: RedisServer, start_api: Callable[..., Started]
) -> None:
    _, client = start_api(own_redis.url)
    assert client.post("/v1/predictions", json=ROW).status_code == 202
    assert own_redis._process is not None
    own_redis._process.send_signal(signal.SIGSTOP)
    try:
        responses = [client.post("/v1/predictions", json=ROW), client.get("/v1/predictions/unknown")]
    finally:
        own_redis._process.send_signal(signal.SIGCONT)
    assert [response.status_code for response in responses] == [503, 503]
    eventually(lambda: client.post("/v1/predictions", json=ROW).status_code == 202, "submits are taken again")


def test_api_when_redis_is_wiped_then_models_are_known_again(
    own_redis: RedisServer, start_api: Callable[..., Started], start_worker_on: Callable[[str], Process]
) -> None:
    _, client = start_api(own_redis.url)
    start_worker_on(own_redis.url)
    assert client.post("/v1/predictions", json=ROW, headers=WAIT).status_code == 201
    with redis.Redis.from_url(own_redis.url) as direct:
        direct.flushall()
    assert client.post("/v1/predictions", json=ROW, headers=WAIT).status_code == 201


def test_api_when_two_processes_run_then_a_job_of_one_is_waited_for_at_the_other(
    own_redis: RedisServer, start_api: Callable[..., Started], start_worker_on: Callable[[str], Process]
) -> None:
    (_, first), (_, second) = start_api(own_redis.url), start_api(own_redis.url)
    location = first.post("/v1/predictions", json=ROW).headers["location"]
    start_worker_on(own_redis.url)
    assert second.get(location, params={"wait": 30}).json()["status"] == "succeeded"


def test_api_when_it_serves_then_no_model_runtime_is_loaded(
    own_redis: RedisServer, start_api: Callable[..., Started]
) -> None:
    process, client = start_api(own_redis.url, FERRY_API_PROCESSES="1")
    assert client.post("/v1/predictions", json=ROW).status_code == 202
    assert client.post("/predict", json={"x": [2.0]}).status_code in (404, 422, 503)
    assert client.get("/openapi.json").status_code == 200
    loaded = Path(f"/proc/{process.pid}/maps").read_text()
    assert "numpy" in loaded, "the check looks at the right process"
    for name in ("onnxruntime", "tensorflow", "onnx_cpp2py"):
        assert name not in loaded


def test_api_when_it_is_several_processes_and_their_parent_is_killed_then_none_is_left(
    own_redis: RedisServer, start_api: Callable[..., Started]
) -> None:
    process, client = start_api(own_redis.url, FERRY_API_PROCESSES="3")
    family = _serving(process)
    assert len(family) == 3
    for _ in range(12):
        with httpx.Client(base_url=client.base_url) as another:  # a connection of its own, so any of the three
            assert another.post("/v1/predictions", json=ROW).status_code == 202
    process.signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "the processes have ended")
    assert not _is_live(client)


def _serving(process: Process) -> list[int]:
    """Return the API processes that a supervisor has started (the resource tracker is none)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


@pytest.mark.parametrize("n_processes", ["1", "2"])
def test_api_when_told_to_stop_then_exits_cleanly(
    own_redis: RedisServer, start_api: Callable[..., Started], n_processes: str
) -> None:
    process, client = start_api(own_redis.url, FERRY_API_PROCESSES=n_processes)
    client.post("/v1/predictions", json=ROW)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "Traceback" not in process.output
