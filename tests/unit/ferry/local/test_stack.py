import socket
from pathlib import Path

import pytest

from ferry.local.data_dir import DataDir
from ferry.local.stack import Launch, plan_launch
from ferry.manifest import MODEL_FILE, Manifest, TensorSpec, sha256_of, write_manifest
from ferry.settings import Settings


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for version in ("9", "10"):
        folder = tmp_path / "models" / "mnist" / version
        folder.mkdir(parents=True)
        (folder / MODEL_FILE).write_bytes(b"onnx")
        spec = TensorSpec(name=f"x{version}", dtype="float32", shape=(None, 2))
        digest = sha256_of(folder / MODEL_FILE)
        write_manifest(Manifest(name="mnist", version=version, inputs=(spec,), outputs=(spec,), sha256=digest), folder)
    return tmp_path / "models"


def plan(data_dir: Path, **changes: object) -> Launch:
    ports = {"api_port": 0, "flower_port": 0, "workers": 1, "redis_url": "redis://:secret@box:7000/0"}
    return plan_launch(Settings(**ports | changes), DataDir(data_dir), redis=None)


def test_plan_when_there_is_a_model_waits_until_it_is_served(tmp_path: Path, models_dir: Path) -> None:
    launch = plan(tmp_path, models_dir=models_dir)
    assert launch.ready_urls == (f"{launch.info.api_url}/v2/health/ready",)
    assert launch.extra_urls == (f"{launch.info.flower_url}/healthcheck",)
    assert "'x10'" in launch.greeting  # the newest version's input


def test_plan_when_there_is_no_model_waits_for_the_api_alone(tmp_path: Path) -> None:
    launch = plan(tmp_path, models_dir=tmp_path / "none")
    assert launch.ready_urls[0].endswith("/v2/health/live")
    assert "No model is here yet" in launch.greeting


def test_plan_when_a_port_is_taken_notes_the_other(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        launch = plan(tmp_path, models_dir=tmp_path, api_port=taken)
    (note,) = launch.info.notes
    assert note.startswith(f"port {taken} is taken, the API is on ")
    assert launch.info.api_url.endswith(note.rpartition(" ")[2])


def test_plan_when_flower_is_behind_a_proxy_tells_users_that_address(tmp_path: Path) -> None:
    launch = plan(tmp_path, models_dir=tmp_path, flower_url="https://flower.example")
    assert "https://flower.example" in launch.greeting
    assert launch.info.flower_url.startswith("http://127.0.0.1:")


def test_plan_never_shows_the_password_of_redis(tmp_path: Path) -> None:
    launch = plan(tmp_path, models_dir=tmp_path)
    assert "Redis at box:7000" in launch.greeting
    assert "secret" not in launch.greeting
