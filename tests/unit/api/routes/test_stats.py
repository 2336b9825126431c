import json
from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import build_app
from api.services import Services
from ferry.errors import QueueUnavailableError
from ferry.queue.load import Load, ModelLoad
from ferry.queue.producer import limits_of
from ferry.settings import Settings
from tests.fakes.memory_queue import MemoryQueue
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio


class Book:
    """Counts a job more at each look; away where it is told."""

    def __init__(self) -> None:
        self.looks = 0
        self.away_at: set[int] = set()
        self.release_at = 0
        self.services: Services | None = None

    async def read(self) -> Load:
        self.looks += 1
        if self.looks == self.release_at and self.services:
            self.services.waiters.release()
        if self.looks in self.away_at:
            raise QueueUnavailableError("Redis is away")
        jobs = {"submitted": self.looks, "succeeded": self.looks}
        waiting = {"normal": 0}
        toy = ModelLoad("toy", "1", waiting, 0, 0.0, 1, jobs, rows=self.looks, bulk_rows=0, batches=self.looks)
        return Load(self.looks * 1_000_000, (toy,), 0, 0)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
async def client(api_settings: Settings, book: Book, anyio_backend: object) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(api_settings, queue=MemoryQueue(limits_of(api_settings)), loads=book)
    async with app.router.lifespan_context(app):
        book.services = app.state.services
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ferry") as client:
            yield client


def events_of(text: str) -> list[tuple[str, dict[str, object]]]:
    parts = [dict(line.split(": ", 1) for line in part.split("\n")) for part in text.strip().split("\n\n")]
    return [(part["event"], json.loads(part["data"])) for part in parts if "event" in part]


async def test_stats_when_asked_once_then_with_rates(
    client: httpx.AsyncClient, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.load_feed._FRESH_SHARE", 0)
    response = await client.get("/v1/stats")
    body = response.json()
    assert response.status_code == 200
    assert (body["object"], body["over_s"]) == ("stats", 1)
    assert (body["models"][0]["jobs_per_s"], body["models"][0]["rows_per_batch"]) == (1, 1)


async def test_events_when_followed_then_the_same_every_second_until_the_stream_ends(
    client: httpx.AsyncClient, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.load_feed._FRESH_SHARE", 0)
    monkeypatch.setattr("api.routes.stats.EVERY_S", 0.01)
    monkeypatch.setattr("api.routes.stats.STREAM_S", 0.05)
    book.away_at = {2}
    response = await client.get("/v1/stats/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry: 2000\n\n")
    events = events_of(response.text)
    assert [name for name, _ in events[:3]] == ["stats", "problem", "stats"]
    assert events[1][1]["code"] == "queue_unavailable"
    assert events[2][1]["models"][0]["jobs"]["succeeded"] == 3  # type: ignore[index]


async def test_events_when_the_process_ends_then_the_stream_does(
    client: httpx.AsyncClient, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.load_feed._FRESH_SHARE", 0)
    monkeypatch.setattr("api.routes.stats.EVERY_S", 0.01)
    book.release_at = 3
    assert len(events_of((await client.get("/v1/stats/events")).text)) == 3


@pytest.mark.parametrize("path", ["/v1/stats", "/v1/stats/events"])
async def test_stats_when_nothing_is_counted_then_404(api: Api, path: str) -> None:
    assert_problem(await api.client.get(path), 404, "not_found")
