import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import celery
import pytest

from ferry.settings import Settings

URL = "redis://:hunter2@localhost:1/0"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """worker.app, imported as `celery -A worker.app` does; it connects to nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERRY_REDIS_URL", URL)
    before = sys.modules.pop("worker.app", None)
    yield importlib.import_module("worker.app")
    sys.modules.pop("worker.app")
    if before is not None:
        sys.modules["worker.app"] = before


def test_app_when_imported_then_for_the_redis_of_the_environment(module: ModuleType) -> None:
    assert isinstance(module.app, celery.Celery)
    assert module.app.conf.broker_url == URL


def test_app_when_no_redis_is_named_then_it_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", "")
    with pytest.raises(SystemExit, match="worker: FERRY_REDIS_URL is not set"):
        importlib.reload(module)


def test_make_app_when_made_then_json_alone_and_no_results(module: ModuleType) -> None:
    conf = module.make_app(Settings(_env_file=None, redis_url=URL)).conf
    assert (conf.task_serializer, list(conf.accept_content)) == ("json", ["json"])
    assert conf.result_backend is None
    assert conf.task_ignore_result is True


def test_make_app_when_made_then_the_broker_remembers_nothing_and_keeps_one_list_a_queue(module: ModuleType) -> None:
    conf = module.make_app(Settings(_env_file=None, redis_url=URL)).conf
    assert conf.broker_transport_options["ack_emulation"] is False
    assert conf.broker_transport_options["priority_steps"] == [0]
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier) == (False, 1)


@pytest.mark.parametrize(("database", "prefix"), [("0", "{ours}:"), ("3", "{ours@3}:")])
def test_make_app_when_made_then_all_its_keys_and_channels_carry_the_namespace(
    module: ModuleType, database: str, prefix: str
) -> None:
    settings = Settings(_env_file=None, redis_url=f"redis://localhost:1/{database}", namespace="ours")
    assert module.make_app(settings).conf.broker_transport_options["global_keyprefix"] == prefix


def test_make_app_when_made_then_it_outlives_every_outage_and_a_running_batch_goes_on(module: ModuleType) -> None:
    conf = module.make_app(Settings(_env_file=None, redis_url=URL)).conf
    assert conf.broker_connection_retry_on_startup is True
    assert conf.broker_connection_max_retries is None
    assert conf.worker_cancel_long_running_tasks_on_connection_loss is False
    assert conf.broker_transport_options["socket_connect_timeout"] > 0


def test_make_app_when_made_then_flower_hears_of_tasks_and_logging_stays_ours(module: ModuleType) -> None:
    conf = module.make_app(Settings(_env_file=None, redis_url=URL)).conf
    assert conf.worker_send_task_events is True
    assert conf.worker_enable_remote_control is True
    assert conf.worker_hijack_root_logger is False
    assert conf.worker_redirect_stdouts is False
