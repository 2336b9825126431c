"""Keys on a whole API: when a key over its limits is let in again, and a key that is revoked amid a request."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.access import SEEN_S
from ferry.access import Scope
from tests.fakes.memory_keys import MemoryKeys
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

ROW = {"x": [1.0, 2.0, 3.0]}
JOB = {"version": "toy", "input": ROW}
INFER = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}


class Clock:
    """A clock of the gate; it moves when the gate sleeps, or by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def api_keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def clock(api: Api) -> Clock:
    ours, gate = Clock(), api.services.door.gate
    gate._clock, gate._sleep = ours, ours.sleep
    return ours


def headers_with(keys: MemoryKeys, **limits: Any) -> dict[str, str]:
    scopes = frozenset({Scope.SUBMIT, Scope.READ})
    return {"Authorization": f"Bearer {keys.create('ci', owner='ann', scopes=scopes, **limits)[1]}"}


@pytest.mark.usefixtures("clock")
async def test_limits_when_a_refused_key_comes_back_after_the_hold_then_the_queue_is_asked_again(
    api: Api, api_keys: MemoryKeys
) -> None:
    headers = headers_with(api_keys, max_unfinished=1)

    async def submit() -> int:
        return (await api.client.post("/v1/predictions", json=JOB, headers=headers)).status_code

    # The third is refused after a pause, without the queue: that refusal must not hold the key again.
    assert [await submit() for _ in range(3)] == [202, 429, 429]
    api.serve()
    assert await submit() == 202


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/predictions", JOB),
        ("PUT", "/v1/predictions/mine", JOB),
        ("POST", "/v1/predictions/many", {"version": "toy", "inputs": [ROW, ROW]}),
        ("POST", "/predict", ROW | {"model": "toy"}),
        ("POST", "/v2/models/toy/infer", INFER),
        ("POST", "/v2/models/toy/versions/1/infer", INFER),
        ("POST", "/v1/batches", {"input_file_id": "file-1", "endpoint": "/v1/predictions", "model": "toy"}),
    ],
)
async def test_submit_when_the_key_is_revoked_while_the_body_comes_then_refused_and_nothing_is_queued(
    api: Api, api_keys: MemoryKeys, clock: Clock, method: str, path: str, body: dict[str, Any]
) -> None:
    headers = headers_with(api_keys) | {"Content-Type": "application/json"}
    (key_id,) = api_keys.kept
    whole = httpx.Request(method, "http://ferry", json=body).content

    async def sent() -> AsyncIterator[bytes]:
        yield whole[:10]
        api_keys.revoke(key_id)
        clock.now += SEEN_S
        yield whole[10:]

    response = await api.client.request(method, path, content=sent(), headers=headers)
    assert response.status_code == 401
    assert "revoked while" in response.json()["detail"]
    assert api.queue.jobs == {}


@pytest.mark.parametrize(("is_replay", "n_left"), [(False, 0), (True, 1)])
async def test_upload_when_the_key_is_revoked_while_it_comes_then_only_a_file_that_was_there_before_stays(
    api: Api, api_keys: MemoryKeys, clock: Clock, n_left: int, *, is_replay: bool
) -> None:
    form = httpx.Request("POST", "http://ferry", data={"purpose": "batch"}, files={"file": ("a.jsonl", b"{}")})
    whole = form.read()
    headers = headers_with(api_keys) | {"Content-Type": form.headers["content-type"], "Idempotency-Key": "once"}
    (key_id,) = api_keys.kept
    if is_replay:
        assert (await api.client.post("/v1/files", content=whole, headers=headers)).status_code == 200

    async def sent() -> AsyncIterator[bytes]:
        yield whole[:10]
        api_keys.revoke(key_id)
        clock.now += SEEN_S
        yield whole[10:]

    response = await api.client.post("/v1/files", content=sent(), headers=headers)
    assert response.status_code == 401
    assert len(api.files.records) == n_left
