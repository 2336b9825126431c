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


def test_ferries_when_both_have_a_job_of_one_id_then_each_waiter_gets_the_answer_of_its_own(
    two: tuple[Ferry, Ferry], watched: "Watched"
) -> None:
    one, other = two
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(one.predict, 1.0)
        eventually(lambda: one.api.get(f"/v1/predictions/{CHOSEN}").status_code == 200, "the first job waits")
        other.start_worker("theirs")
        assert other.predict(5.0)["output"] == {"y": [10.0, 10.0, 10.0]}
        assert not waiting.done()
        assert one.api.get(f"/v1/predictions/{CHOSEN}").json()["status"] in ("starting", "processing")
        one.start_worker("ours")
        assert waiting.result()["output"] == {"y": [2.0, 2.0, 2.0]}
    assert other.api.delete(f"/v1/predictions/{CHOSEN}").status_code == 204
    assert one.api.get(f"/v1/predictions/{CHOSEN}").json()["output"] == {"y": [2.0, 2.0, 2.0]}
    _assert_apart(two, watched)


def _assert_apart(two: tuple[Ferry, Ferry], watched: "Watched") -> None:
    """Every key, channel and script call there was is of one of the two; Celery sees its own worker alone."""
    prefixes = {ferry.keys.prefix for ferry in two}
    for ferry in two:
        mine = prefixes if two[0].url == two[1].url else {ferry.keys.prefix}
        with redis.Redis.from_url(ferry.url, decode_responses=True) as direct:
            names = direct.keys("*") + direct.pubsub_channels()
        assert len(names) > 10
        assert {name.partition(":")[0] + ":" for name in names} <= prefixes
        assert {name.partition(":")[0] + ":" for name in direct.keys("*")} == mine
    assert {prefix for prefix, _ in watched.calls} == prefixes
    assert {n_keys for _, n_keys in watched.calls} == {"1"}
    for ferry, worker in zip(two, ("ours", "theirs"), strict=True):
        assert {name.partition("-")[0] for name in _workers_heard(ferry)} == {worker}


def _workers_heard(ferry: Ferry) -> set[str]:
    """Return the workers that answer a control command or tell of themselves, as Flower hears them."""
    from worker.app import make_app  # noqa: PLC0415  needs a setting at import

    app = make_app(Settings(_env_file=None, redis_url=ferry.url, namespace=ferry.namespace))
    heard: set[str] = set()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"worker-heartbeat": lambda event: heard.add(event["hostname"])}
        )
        with pytest.raises(TimeoutError):  # a heartbeat comes every two seconds
            receiver.capture(limit=None, timeout=1, wakeup=False) if not heard else None
    heard |= {name for reply in app.control.ping(timeout=1) for name in reply}
    return heard


class Watched:
    """The script calls that a server sees while it is watched: (namespace of the first key, number of keys)."""

    def __init__(self, url: str) -> None:
        self.calls: set[tuple[str, str]] = set()
        self._client = redis.Redis.from_url(url)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._client.ping()  # one more command, so that the thread looks up
        self._thread.join()
        self._client.close()
