"""The Python client's files and its look at models, on the API itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ferry.client import ApiError, AsyncClient
from ferry.client_transfers import PIECE_BYTES
from ferry.errors import NotFoundError
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

CONTENT = b'{"x": 1}\n' * (PIECE_BYTES // 4)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncClient]:
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    async with AsyncClient("http://ferry", transport=transport) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / 'ä "b".jsonl'
    path.write_bytes(CONTENT)
    return path


async def test_file_when_stored_then_comes_back_as_it_was(client: AsyncClient, path: Path, tmp_path: Path) -> None:
    stored = await client.upload_file(path, expires_after_s=3600)
    assert (stored.filename, stored.size_bytes, stored.purpose) == ("ä %22b%22.jsonl", len(CONTENT), "batch")
    assert stored.expires_at is not None
    assert stored.created_at is not None
    assert (stored.expires_at - stored.created_at).total_seconds() == 3600
    assert await client.file(stored.id) == stored
    await client.download_file(stored.id, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    await client.delete_file(stored.id)
    with pytest.raises(ApiError, match="no file"):
        await client.file(stored.id)


async def test_download_when_a_part_is_there_then_the_rest_is_fetched(
    client: AsyncClient, path: Path, tmp_path: Path
) -> None:
    stored = await client.upload_file(path)
    (tmp_path / f"out.{stored.id}.part").write_bytes(CONTENT[:1000])
    told: list[int] = []
    await client.download_file(stored.id, tmp_path / "out", lambda done, _: told.append(done))
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert told[0] > 1000


async def test_upload_when_refused_then_says_why(client: AsyncClient, path: Path) -> None:
    with pytest.raises(ApiError, match="expected 3600 to 2592000 seconds, got '60'") as caught:
        await client.upload_file(path, expires_after_s=60)
    assert (caught.value.status, caught.value.code) == (400, "invalid_input")


async def test_check_model_when_it_is_not_served_then_says_what_there_is(client: AsyncClient) -> None:
    await client.check_model("toy")
    await client.check_model("toy:1")
    with pytest.raises(NotFoundError, match="model 'toy' has no version '2'; it has 1"):
        await client.check_model("toy:2")
    with pytest.raises(ApiError, match="toi"):
        await client.check_model("toi")
