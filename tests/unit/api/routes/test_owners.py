from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import build_app
from ferry.erasure import Erasure
from ferry.errors import ConflictError
from ferry.queue.producer import limits_of
from ferry.settings import Settings
from tests.fakes.memory_queue import MemoryQueue
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio


class ToldEraser:
    """Erases nothing; `ann` has a key in force."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def count(self, owner: str) -> Erasure:
        self.asked.append(f"count {owner}")
        return Erasure(owner, keys=1, jobs=5)

    async def erase(self, owner: str, *, is_revoking: bool = False) -> Erasure:
        if not is_revoking:
            raise ConflictError(f"owner {owner} has 1 API keys in force")
        self.asked.append(f"erase {owner}")
        return Erasure(owner, keys=1, jobs=5, dead_letters=2, batches=3, files=4)


@pytest.fixture
def eraser() -> ToldEraser:
    return ToldEraser()


@pytest.fixture
async def client(api_settings: Settings, eraser: ToldEraser, anyio_backend: object) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(api_settings, queue=MemoryQueue(limits_of(api_settings)), eraser=eraser)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://ferry") as client,
    ):
        yield client


async def test_erase_when_keys_are_revoked_with_it_then_the_numbers(
    client: httpx.AsyncClient, eraser: ToldEraser
) -> None:
    response = await client.delete("/v1/owners/ann?revoke=true")
    assert response.status_code == 200
    assert response.json() == {
        "object": "erasure", "owner": "ann", "dry_run": False, "keys": 1, "jobs": 5, "dead_letters": 2, "batches": 3,
        "files": 4,
    }  # fmt: skip
    assert eraser.asked == ["erase ann"]


async def test_erase_when_keys_are_in_force_then_conflict(client: httpx.AsyncClient, eraser: ToldEraser) -> None:
    assert "in force" in assert_problem(await client.delete("/v1/owners/ann"), 409, "conflict")
    assert eraser.asked == []


async def test_erase_when_only_counting_then_counted(client: httpx.AsyncClient, eraser: ToldEraser) -> None:
    response = await client.delete("/v1/owners/ann?dry_run=true")
    assert (response.json()["dry_run"], response.json()["jobs"]) == (True, 5)
    assert eraser.asked == ["count ann"]


async def test_erase_when_nothing_is_kept_by_owner_then_not_found(api: Api) -> None:
    assert_problem(await api.client.delete("/v1/owners/ann"), 404, "not_found")
