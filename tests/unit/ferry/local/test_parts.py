import sys
from pathlib import Path

import pytest

from ferry.local.parts import Addresses, parts_of_stack, worker_names
from ferry.settings import Settings

ADDRESSES = Addresses(
    redis_url="redis://:secret@127.0.0.1:7000/0",
    api_port=8001,
    api_url="http://127.0.0.1:8001",
    flower_port=5556,
    flower_url="http://127.0.0.1:5556",
    public_flower_url="https://flower.example",
)


@pytest.fixture
def settings() -> Settings:
    return Settings(workers=2, models_dir=Path("models"))


def test_parts_are_api_workers_and_flower(settings: Settings) -> None:
    parts = parts_of_stack(settings, ADDRESSES, Path("/data"))
    assert [part.name for part in parts] == ["api", "worker-1", "worker-2", "flower"]
    assert parts[0].command == (sys.executable, "-m", "api")
    assert parts[1].command == (sys.executable, "-m", "worker")


def test_parts_when_they_run_jobs_are_restarted_and_no_others(settings: Settings) -> None:
    parts = parts_of_stack(settings, ADDRESSES, Path("/data"))
    assert [part.name for part in parts if not part.is_needed] == ["flower"]


def test_parts_never_show_the_password_in_a_command(settings: Settings) -> None:
    for part in parts_of_stack(settings, ADDRESSES, Path("/data")):
        assert not any("secret" in argument for argument in part.command)
        assert part.env["FERRY_REDIS_URL"] == ADDRESSES.redis_url


def test_parts_get_the_ports_that_were_chosen(settings: Settings) -> None:
    api, first, second, flower = parts_of_stack(settings, ADDRESSES, Path("/data"))
    assert api.env["FERRY_API_PORT"] == "8001"
    assert api.env["FERRY_FLOWER_URL"] == "https://flower.example"
    assert "--port=5556" in flower.command
    assert "--read_only" in flower.command
    assert [first.env["FERRY_WORKER_NAME"], second.env["FERRY_WORKER_NAME"]] == ["worker-1", "worker-2"]


def test_parts_get_an_absolute_models_folder(settings: Settings) -> None:
    api, *_ = parts_of_stack(settings, ADDRESSES, Path("/data"))
    assert Path(api.env["FERRY_MODELS_DIR"]) == Path("models").absolute()


def test_worker_names_when_none_are_set_are_one_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 5, 6}, raising=False)
    assert worker_names(Settings(workers=0)) == ("worker-1", "worker-2", "worker-3")


def test_parts_when_metrics_have_a_port_then_each_worker_one_of_its_own(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workers=2, metrics_port=9100)
    ports = [part.env.get("FERRY_METRICS_PORT") for part in parts_of_stack(settings, ADDRESSES, tmp_path)]
    assert ports == [None, "9100", "9101", None]
