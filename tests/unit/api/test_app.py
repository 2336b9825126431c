import asyncio
from pathlib import Path

import pytest

from api import app as module
from api.app import build_app, create_app
from api.stop_bell import STOP_BELL
from ferry.errors import ConfigError
from ferry.queue.producer import Limits, limits_of
from ferry.settings import Settings
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS, manifest
from tests.unit.api.conftest import Api, assert_problem, put_model

pytestmark = pytest.mark.anyio


async def test_lifespan_when_started_then_the_catalog_is_filled_before_the_first_request(
    api_settings: Settings,
) -> None:
    put_model(api_settings.models_dir, manifest())
    queue = MemoryQueue(LIMITS)
    app = build_app(api_settings, queue=queue)
    async with app.router.lifespan_context(app):
        assert [entry.manifest.ref for entry in app.state.services.catalog.entries] == ["toy:1"]
        assert list(queue.lanes) == [("toy", "1")]


async def test_lifespan_when_the_queue_is_down_at_the_start_then_it_starts_all_the_same(
    api_settings: Settings,
) -> None:
    put_model(api_settings.models_dir, manifest())
    queue = MemoryQueue(LIMITS)
    queue.is_down = True
    app = build_app(api_settings, queue=queue)
    async with app.router.lifespan_context(app):
        queue.is_down = False
        await asyncio.sleep(1.1)
        assert list(queue.lanes) == [("toy", "1")]


async def test_lifespan_when_it_ends_then_no_task_is_left(api_settings: Settings) -> None:
    before = asyncio.all_tasks()
    app = build_app(api_settings, queue=MemoryQueue(LIMITS))
    async with app.router.lifespan_context(app):
        assert len(asyncio.all_tasks() - before) == 4
    assert asyncio.all_tasks() == before


async def test_lifespan_when_no_redis_is_named_then_it_does_not_start(api_settings: Settings) -> None:
    app = build_app(api_settings)
    with pytest.raises(ConfigError, match="FERRY_REDIS_URL"):
        async with app.router.lifespan_context(app):
            pass


def test_create_app_when_called_then_by_the_settings_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configured: list[Settings] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERRY_LOG_LEVEL", "error")
    monkeypatch.setattr(module, "configure_logging", configured.append)
    assert create_app().title == "Ferry"
    assert [settings.log_level for settings in configured] == ["error"]


def test_limits_of_when_set_then_what_the_queue_needs() -> None:
    settings = Settings(
        _env_file=None, max_waiting_rows=1, max_waiting_bytes=1024, max_rows_in_all=2, max_bytes_in_all=2048,
        job_deadline_s=3, result_ttl_s=4,
    )  # fmt: skip
    assert limits_of(settings) == Limits(
        max_waiting_rows=1, max_waiting_bytes=1024, max_rows_in_all=2, max_bytes_in_all=2048, deadline_s=3,
        result_ttl_s=4,
    )  # fmt: skip


async def test_lifespan_when_the_server_begins_to_stop_then_waiting_requests_are_answered(api: Api) -> None:
    row = [1.0, 2.0, 3.0]
    async with api.app.router.lifespan_context(api.app) as state:
        sent = [("/v1/predictions?wait=60", {"version": "toy", "input": {"x": row}}), ("/predict", {"x": row})]
        requests = [asyncio.ensure_future(api.client.post(path, json=body)) for path, body in sent]
        await asyncio.sleep(0.1)
        assert not any(request.done() for request in requests)
        state[STOP_BELL].shutdown()
        created, predicted = await asyncio.gather(*requests)
    assert (created.status_code, created.json()["status"]) == (202, "starting")
    assert "the job goes on, poll /v1/predictions/" in assert_problem(predicted, 503, "shutting_down")
    assert predicted.headers["retry-after"] == "1"
    assert asyncio.get_running_loop().time() < 1
