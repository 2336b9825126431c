"""SIGTERM to a real API while requests wait: each has its answer, none a broken connection, and the end is a good one.

The API under test would wait a million seconds for its requests. That it ends at all says that none held it up.
"""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import redis

from api.preferences import MAX_WAIT_S
from tests.integration.sites import HOST, ROW, Site, a_site, accepted
from tests.namespaces import KEYS
from tests.processes import eventually

pytestmark = pytest.mark.timeout(300)

# The longest there is.
WAIT = {"Prefer": f"wait={MAX_WAIT_S:g}"}
QUERY = {"wait": f"{MAX_WAIT_S:g}"}
INFER = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]}
PREDICT = {"x": [1.0, 2.0, 3.0], "model": "toy"}

Ask = Callable[[httpx.Client], httpx.Response]


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Iterator[Site]:
    with a_site(tmp_path, models) as site:
        yield site


@pytest.fixture(autouse=True)
def _no_wait_was_sat_out() -> Iterator[None]:
    """Each test is over before the first wait in it would have ended by itself."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < MAX_WAIT_S


@pytest.fixture
def reads(site: Site) -> Iterator[set[str]]:
    """The ids of all jobs that somebody has read: once a second an API process reads every job it is asked to await."""
    seen: set[str] = set()
    is_over = threading.Event()

    def watch() -> None:
        with suppress(redis.ConnectionError), site.direct.monitor() as monitor:  # a test may kill Redis
            is_watching.set()
            for event in monitor.listen():
                verb, *names = event["command"].split()
                if verb == "HMGET" and names[0].startswith(KEYS.job):
                    seen.add(names[0].removeprefix(KEYS.job))
                if is_over.is_set():
                    return

    is_watching = threading.Event()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert is_watching.wait(30)
    yield seen
    is_over.set()
    while watcher.is_alive():
        site.direct.ping()  # which it hears
        watcher.join(0.05)


def asking(site: Site, pool: ThreadPoolExecutor, port: int, ask: Ask, number: int) -> list[Future[httpx.Response]]:
    """Ask so many times, each on a connection of its own that is open before."""
    clients = [site.client(port) for _ in range(number)]
    for client in clients:
        assert client.get("/v2/health/live").status_code == 200
    return [pool.submit(ask, client) for client in clients]


def port_of(client: httpx.Client) -> int:
    assert client.base_url.port is not None
    return client.base_url.port


def create(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/predictions", json=ROW, headers=WAIT)


@pytest.mark.parametrize("n_processes", ["1", "2"])
def test_api_when_told_to_stop_while_20_requests_wait_then_each_is_answered_and_it_exits_0(
    site: Site, reads: set[str], n_processes: str
) -> None:
    process, client = site.start_api(FERRY_API_PROCESSES=n_processes)
    worker = site.start_worker()
    eventually(lambda: client.get("/v2/health/ready").status_code == 200, "the API knows of the worker")
    worker.hold()
    running = [accepted(client) for _ in range(6)]
    worker.wait_until_held()
    eventually(lambda: site.states(running[:1]) == {"running"}, "the first job is under way")
    with ThreadPoolExecutor(20) as pool:

        def get(number: int) -> Ask:
            return lambda own: own.get(f"/v1/predictions/{running[number]}", params=QUERY)

        port = port_of(client)
        gets = [each for n in range(6) for each in asking(site, pool, port, get(n), 1)]
        posts = asking(site, pool, port, create, 8)
        predicts = asking(site, pool, port, lambda own: own.post("/predict", json=PREDICT), 3)
        infers = asking(site, pool, port, lambda own: own.post("/v2/models/toy/infer", json=INFER), 3)
        eventually(lambda: len(reads) == 20, "all 20 requests wait")
        assert not any(each.done() for each in [*gets, *posts, *predicts, *infers])
        process.signal(signal.SIGTERM)
        answers = [[each.result() for each in asked] for asked in (gets, posts, predicts, infers)]
    assert process.wait() == 0
    assert "Traceback" not in process.output

    for response in answers[0]:
        assert (response.status_code, response.headers["connection"]) == (200, "close")
        assert response.json()["status"] in ("starting", "processing")
    assert answers[0][0].json()["status"] == "processing"
    for response in answers[1]:
        assert (response.status_code, response.headers["connection"]) == (202, "close")
        assert response.json()["status"] == "starting"
    for response in [*answers[2], *answers[3]]:
        assert (response.status_code, response.json()["code"]) == (503, "shutting_down")
        assert "the job goes on, poll /v1/predictions/" in response.json()["detail"]
        assert int(response.headers["retry-after"]) >= 1

    ids = site.job_ids()
    assert len(ids) == 20
    for response in answers[1]:
        assert response.json()["id"] in ids
    worker.let_go()
    eventually(lambda: site.states(ids) == {"succeeded"}, "the jobs go on without the API")


@pytest.mark.parametrize("n_processes", ["1", "2"])
def test_api_when_told_to_stop_while_20_requests_wait_and_no_worker_lives_then_each_is_answered_and_it_exits_0(
    site: Site, reads: set[str], n_processes: str
) -> None:
    process, client = site.start_api(FERRY_API_PROCESSES=n_processes)
    with ThreadPoolExecutor(20) as pool:
        waiting = asking(site, pool, port_of(client), create, 20)
        eventually(lambda: len(reads) == 20, "all 20 requests wait")
        process.signal(signal.SIGTERM)
        answers = [each.result() for each in waiting]
    assert process.wait() == 0
    assert {(each.status_code, each.json()["status"]) for each in answers} == {(202, "starting")}
    assert {each.headers["connection"] for each in answers} == {"close"}
    assert {each.json()["id"] for each in answers} == site.job_ids()


def raw_post(host: str) -> bytes:
    body = b'{"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}}'
    head = f"POST /v1/predictions?wait=60 HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_api_when_a_further_request_comes_while_it_stops_then_accepted_without_a_wait(
    site: Site, reads: set[str]
) -> None:
    process, client = site.start_api(FERRY_API_PROCESSES="1")
    with socket.create_connection((HOST, port_of(client)), timeout=60) as wire:
        wire.sendall(raw_post(HOST) + raw_post(HOST))  # the second is served once the first has its answer
        eventually(lambda: len(reads) == 1, "the first request waits")
        process.signal(signal.SIGTERM)
        heard = b"".join(iter(lambda: wire.recv(65536), b""))
    assert process.wait() == 0
    assert heard.count(b"HTTP/1.1 202 Accepted\r\n") == 2
    assert heard.count(b"connection: close\r\n") == 1
    assert len(site.job_ids()) == 2


def test_api_when_told_to_stop_and_the_client_of_a_waiting_request_has_gone_then_it_exits_0(
    site: Site, reads: set[str]
) -> None:
    process, client = site.start_api(FERRY_API_PROCESSES="1")
    port = port_of(client)
    client.close()  # a request whose client has gone is then all that there is
    with socket.create_connection((HOST, port), timeout=60) as wire:
        wire.sendall(raw_post(HOST))
        eventually(lambda: len(reads) == 1, "the request waits")
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_api_when_told_to_stop_while_redis_is_away_then_waiting_requests_have_what_is_known_and_it_exits_0(
    site: Site, reads: set[str]
) -> None:
    process, client = site.start_api(FERRY_API_PROCESSES="1")
    job_id = accepted(client)
    with ThreadPoolExecutor(2) as pool:
        waiting = asking(site, pool, port_of(client), create, 1)
        waiting += asking(
            site, pool, port_of(client), lambda own: own.get(f"/v1/predictions/{job_id}", params=QUERY), 1
        )
        eventually(lambda: len(reads) == 2, "both requests wait")
        site.kill_redis()
        process.signal(signal.SIGTERM)
        answers = [each.result() for each in waiting]
    assert process.wait() == 0
    assert [(each.status_code, each.json()["status"]) for each in answers] == [(202, "starting"), (200, "starting")]
