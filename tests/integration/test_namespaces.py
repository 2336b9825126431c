"""Two Ferries on one Redis server: in two databases, or under two names in one. Neither hears or sees the other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis

from ferry.local.ports import PortWish, choose_ports
from ferry.queue.keys import Keys, keys_at
from ferry.settings import NAMESPACE, Settings
from tests.processes import GIVE_UP_S, eventually, running

pytestmark = pytest.mark.timeout(300)

CHOSEN = "order-7"
WAIT = {"Prefer": "wait=60"}


@dataclass
class Ferry:
    """One of them: its address on the server, its processes."""

    stack: ExitStack
    folder: Path
    models: Path
    url: str
    namespace: str = NAMESPACE
    api: httpx.Client = field(init=False)

    @property
    def keys(self) -> Keys:
        return keys_at(self.url, self.namespace)

    def start_api(self) -> None:
        (port,) = choose_ports(PortWish("API", "127.0.0.1"))
        self._run("api", FERRY_API_PORT=str(port.number), FERRY_API_PROCESSES="1")
        base = f"http://127.0.0.1:{port.number}"
        self.api = self.stack.enter_context(httpx.Client(base_url=base, timeout=2 * GIVE_UP_S))
        eventually(self._is_live, "the API is live")

    def start_worker(self, name: str) -> None:
        self._run("worker", FERRY_WORKER_NAME=name)
        with redis.Redis.from_url(self.url) as direct:
            eventually(lambda: direct.exists(f"{self.keys.live}toy:1"), "the worker serves")

    def predict(self, x: float) -> dict[str, object]:
        """Submit under the id that both use, and wait for the answer."""
        row = {"version": "toy", "input": {"x": [x, x, x]}}
        response = self.api.put(f"/v1/predictions/{CHOSEN}", json=row, headers=WAIT)
        assert response.status_code in (200, 201), response.text
        return response.json()

    def _run(self, module: str, **settings: str) -> None:
        self.folder.mkdir(exist_ok=True)
        env = {
            "FERRY_REDIS_URL": self.url, "FERRY_NAMESPACE": self.namespace, "FERRY_MODELS_DIR": str(self.models),
            "FERRY_DATA_DIR": str(self.folder / "data"),
        }  # fmt: skip
        self.stack.enter_context(running(module, env | settings, self.folder / f"{module}.log"))

    def _is_live(self) -> bool:
        try:
            return self.api.get("/v2/health/live").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(params=["two databases", "two names"])
def two(request: pytest.FixtureRequest, redis_url: str, models: Path, tmp_path: Path) -> Iterator[tuple[Ferry, Ferry]]:
    """Two Ferries, each with an API and no worker yet."""
    where = {
        "two databases": [(redis_url, NAMESPACE), (redis_url.removesuffix("/0") + "/1", NAMESPACE)],
        "two names": [(redis_url, "one"), (redis_url, "other")],
    }[request.param]
    with ExitStack() as stack:
        ferries = [
            Ferry(stack, tmp_path / f"ferry-{number}", models, *place) for number, place in enumerate(where, start=1)
        ]
        for ferry in ferries:
            ferry.start_api()
        yield ferries[0], ferries[1]


@pytest.fixture
def watched(redis_url: str) -> Iterator["Watched"]:
    """What reaches the server, in whichever database, from before the first process on."""
    with Watched(redis_url) as watched:
        yield watched


def test_ferries_when_both_have_a_job_of_one_id_then_each_waiter_gets_the_answer_of_its_own(
    watched: "Watched", two: tuple[Ferry, Ferry], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    monkeypatch.setenv("FERRY_REDIS_URL", one.url)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(one.predict, 1.0)
        eventually(lambda: one.api.get(f"/v1/predictions/{CHOSEN}").status_code == 200, "the first job waits")
        other.start_worker("theirs")
        assert other.predict(5.0)["output"] == {"y": [10.0, 10.0, 10.0]}
        assert one.api.get(f"/v1/predictions/{CHOSEN}").json()["status"] in ("starting", "processing")
        assert not waiting.done()
        one.start_worker("ours")
        assert waiting.result()["output"] == {"y": [2.0, 2.0, 2.0]}
    assert other.api.delete(f"/v1/predictions/{CHOSEN}").status_code == 204
    assert one.api.get(f"/v1/predictions/{CHOSEN}").json()["output"] == {"y": [2.0, 2.0, 2.0]}
    for ferry, worker in zip(two, ("ours", "theirs"), strict=True):
        assert {name.partition("-")[0] for name in workers_heard(ferry)} == {worker}
    prefixes = {ferry.keys.prefix for ferry in two}
    watched.stop()
    assert {name.partition(":")[0] + ":" for _, name in watched.names} == prefixes, sorted(watched.names)
    assert {"EVALSHA", "BRPOP", "PUBLISH", "SUBSCRIBE", "PSUBSCRIBE"} <= {verb for verb, _ in watched.names}
    ours = {declared for declared in watched.declared if "_kombu." not in declared[0]}
    assert ours == {(ferry.keys.nothing,) for ferry in two}
    assert all(name.startswith(tuple(prefixes)) for declared in watched.declared for name in declared)


def workers_heard(ferry: Ferry) -> set[str]:
    """Return the workers that send events or answer a control command, as Flower hears them."""
    from worker.app import make_app  # noqa: PLC0415  its import wants the environment to name a Redis

    app = make_app(Settings(_env_file=None, redis_url=ferry.url, namespace=ferry.namespace))
    heard: set[str] = set()
    with app.connection_for_read() as connection:
        hear = {"*": lambda event: heard.add(event["hostname"])}
        app.events.Receiver(connection, handlers=hear).capture(limit=5, timeout=20, wakeup=False)
    assert heard
    answers = {name for reply in app.control.ping(timeout=2) for name in reply}
    assert answers == heard
    return heard


class Watched:
    """Writes down what a server is sent: command and first key or channel, and all keys that script calls declare."""

    NO_KEY = frozenset(
        {
            "AUTH", "CLIENT", "COMMAND", "CONFIG", "DISCARD", "EXEC", "FLUSHALL", "HELLO", "INFO", "MONITOR", "MULTI",
            "PING", "QUIT", "SCRIPT", "SELECT", "TIME",
        }
    )  # fmt: skip

    def __init__(self, url: str) -> None:
        self.names: set[tuple[str, str]] = set()
        self.declared: set[tuple[str, ...]] = set()
        self.fault: Exception | None = None
        self._client = redis.Redis.from_url(url, socket_timeout=None)  # nothing is sent while a Ferry starts
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watched":
        self._monitor = self._client.monitor().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._monitor.__exit__()
        self._client.close()

    def stop(self) -> None:
        """Write down no more."""
        self._stopping.set()
        self._client.ping()  # one more command, so that the thread looks up
        self._thread.join()
        assert self.fault is None

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._write_down(*self._monitor.next_command()["command"].split(" "))
        except Exception as error:  # noqa: BLE001  `stop` shows it
            self.fault = error

    def _write_down(self, verb: str, *args: str) -> None:
        verb = verb.upper()
        if verb in ("EVALSHA", "EVAL"):
            self.declared.add(args[2 : 2 + int(args[1])])
            self.names.add((verb, args[2]))
        elif verb not in self.NO_KEY:
            self.names.add((verb, args[0]))
