import asyncio
from dataclasses import replace

import pytest

from ferry.local.part_states import PARTS_FILE, PartState, save_states
from ferry.queue.safety import RedisSafety
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio


async def test_live_when_even_the_queue_is_down_then_200(api: Api) -> None:
    api.queue.is_down = True
    response = await api.client.get("/v2/health/live")
    assert (response.status_code, response.json()) == (200, {"live": True})


async def test_ready_when_a_worker_serves_a_model_then_200(api: Api) -> None:
    response = await api.client.get("/v2/health/ready")
    assert (response.status_code, response.json()) == (200, {"ready": True})


async def test_ready_when_no_worker_lives_then_503_until_one_does(api: Api) -> None:
    api.queue.leave([("toy", "1")])
    await asyncio.sleep(1.1)
    response = await api.client.get("/v2/health/ready")
    assert "no live worker serves any model" in assert_problem(response, 503, "no_worker")
    assert response.headers["retry-after"] == "1"
    api.queue.beat({("toy", "1"): ""})
    assert (await api.client.get("/v2/health/ready")).status_code == 200


async def test_ready_when_the_queue_is_down_then_503_until_it_is_back(api: Api) -> None:
    api.queue.is_down = True
    response = await api.client.get("/v2/health/ready")
    assert_problem(response, 503, "queue_unavailable")
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"] == response.json()["detail"]  # a text under /v2, as that protocol has it
    await asyncio.sleep(5)
    api.queue.is_down = False
    assert (await api.client.get("/v2/health/ready")).status_code == 200


async def test_ready_when_a_model_is_broken_then_200_and_named_without_the_reason(api: Api) -> None:
    api.queue.report_broken({("half", "2"): "/models/half/2/model.onnx is missing"})
    await api.services.catalog.refresh()
    response = await api.client.get("/v2/health/ready")
    assert (response.status_code, response.json()) == (200, {"ready": True, "broken_models": ["half:2"]})
    api.queue.report_broken({})
    await api.services.catalog.refresh()
    assert (await api.client.get("/v2/health/ready")).json() == {"ready": True}


async def test_ready_when_flower_is_down_then_200_and_named_with_its_end(api: Api) -> None:
    folder = api.services.settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    save_states(folder, [PartState("api"), PartState("flower", is_up=False, restarts=2, reason="flower ended")])
    response = await api.client.get("/v2/health/ready")
    assert (response.status_code, response.json()) == (200, {"ready": True, "parts_down": {"flower": "flower ended"}})
    (folder / PARTS_FILE).unlink()


class Unsafe:
    """Says that this Redis deletes jobs."""

    async def read(self) -> RedisSafety:
        return RedisSafety("allkeys-lru", "aof")


@pytest.mark.parametrize("is_required", [False, True])
async def test_ready_when_redis_may_lose_jobs_then_said_and_a_setting_decides_whether_it_fails(
    api: Api, is_required: bool
) -> None:
    settings = api.services.settings.model_copy(update={"require_safe_redis": is_required})
    api.app.state.services = replace(api.services, settings=settings, safety=Unsafe())
    response = await api.client.get("/v2/health/ready")
    if is_required:
        assert "maxmemory-policy is allkeys-lru" in assert_problem(response, 503, "redis_unsafe")
    else:
        assert response.status_code == 200
        assert "maxmemory-policy is allkeys-lru" in response.json()["warnings"][0]
