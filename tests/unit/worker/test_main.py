import importlib
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest

from ferry.errors import ConfigError, QueueUnavailableError
from ferry.manifest import Evidence
from ferry.queue.keys import CONTROL_QUEUE, TICKETS
from ferry.repository import Repository
from ferry.settings import Settings
from tests import onnx_models
from tests.manifests import manifest
from tests.unit.worker.conftest import put_model
from worker.models import Model
from worker.neighbour_check import Influence
from worker.serving import Shelf
from worker.watch import Watch

GOOD = onnx_models.doubled().SerializeToString()
OURS = ("worker.__main__", "worker.app")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """worker.__main__, whose import needs a Redis to be named and connects to nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERRY_REDIS_URL", "redis://localhost:1/0")
    monkeypatch.setenv("FERRY_MODELS_DIR", str(tmp_path / "models"))
    before = {name: sys.modules.pop(name, None) for name in OURS}
    module = importlib.import_module("worker.__main__")
    monkeypatch.setattr(module, "configure_logging", lambda _: None)
    yield module
    for name in OURS:
        sys.modules.pop(name, None)
    sys.modules.update({name: each for name, each in before.items() if each is not None})


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for name, version in (("a", "1"), ("b", "2")):
        put_model(tmp_path / "models", GOOD, name, version)
    shelf = Shelf(Repository(tmp_path / "models"), threads=1)
    shelf.load_all()
    return shelf


class Loop:
    """Celery's worker loop, which ends as the test says."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.end = end
        self.arguments: list[str] = []

    def worker_main(self, arguments: list[str]) -> None:
        self.arguments = arguments
        if self.end is not None:
            raise self.end


@pytest.mark.parametrize(("name", "start"), [("", "worker-"), ("gpu_1", "gpu_1-")])
def test_worker_name_when_made_then_in_celerys_shape_and_never_twice_the_same(
    module: ModuleType, name: str, start: str
) -> None:
    names = {module.worker_name(Settings(_env_file=None, worker_name=name)) for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(start + r"[0-9a-f]{6}@.+", each) for each in names)


def test_main_when_settings_are_bad_then_named_on_stderr(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FERRY_ORT_THREADS", "0.5")
    assert module.main() == 1
    assert capsys.readouterr().err.startswith("worker: bad settings: FERRY_ORT_THREADS='0.5'")


def test_main_when_every_model_is_bad_then_each_is_named_on_one_line_and_nothing_is_served(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_model(tmp_path / "models", b"no model", "bad")
    put_model(tmp_path / "models", b"", "empty")
    assert module.main() == 1
    err = capsys.readouterr().err
    assert err.startswith("worker: every model is broken, so there is nothing to serve: ")
    assert err.count("\n") == 1
    assert "bad:1: onnxruntime will not load" in err
    assert "empty:1: onnxruntime will not load" in err


def test_serve_when_started_then_one_process_on_the_queues_of_its_models(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, shelf: Shelf
) -> None:
    loop = Loop()
    monkeypatch.setattr(module, "app", loop)
    assert module.serve(shelf, "worker-1@host", Settings(_env_file=None, log_level="warning")) == 0
    assert {"worker", "--pool=solo", "--concurrency=1", "--hostname=worker-1@host"} <= set(loop.arguments)
    assert f"--queues={CONTROL_QUEUE},{TICKETS}a:1,{TICKETS}b:2" in loop.arguments
    assert "--loglevel=warning" in loop.arguments


@pytest.mark.parametrize(
    ("end", "status"),
    [(SystemExit(), 0), (SystemExit(0), 0), (SystemExit(70), 70), (SystemExit("it broke"), 1)],
)
def test_serve_when_celery_exits_then_its_status(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, shelf: Shelf, end: SystemExit, status: int
) -> None:
    monkeypatch.setattr(module, "app", Loop(end))
    assert module.serve(shelf, "worker-1@host", Settings(_env_file=None)) == status


def test_serve_metrics_when_a_port_is_set_then_its_numbers_and_its_process(module: ModuleType) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    watch = Watch()
    watch.step_done("batch_1", "0", "chunk", 1)
    module.serve_metrics(Settings(_env_file=None, metrics_port=port), watch)
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'ferry_bulk_steps_total{outcome="chunk"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_serve_metrics_when_the_port_is_taken_then_said_with_the_setting(module: ModuleType) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="FERRY_METRICS_PORT"):
        module.serve_metrics(Settings(_env_file=None, metrics_port=taken.getsockname()[1]), Watch())


def test_main_when_cuda_is_asked_and_only_the_cpu_is_there_then_stops_with_the_reason(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_model(tmp_path / "models", GOOD, "good")
    monkeypatch.setenv("FERRY_ORT_PROVIDER", "cuda")
    assert module.main() == 1
    err = capsys.readouterr().err
    assert err.startswith("worker: FERRY_ORT_PROVIDER=cuda, but onnxruntime ")
    assert "set FERRY_ORT_PROVIDER=cpu" in err


def test_make_profiler_when_on_a_gpu_then_profiles_of_another_machine(module: ModuleType) -> None:
    on_cpu, on_gpu = (
        module.make_profiler(Settings(_env_file=None, ort_provider=provider))._machine for provider in ("cpu", "cuda")
    )
    assert on_gpu.startswith(on_cpu)
    assert "CUDAExecutionProvider" in on_gpu


class Heart:
    """The queue as a switch sees it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.asked = 0
        self.is_down = False

    def switch(self, model: str, version: str, *, digest: str, reason: str) -> bool:
        self.told.append((model, version, reason))
        return True

    def switched(self, model: str, version: str, *, digest: str) -> str:
        self.asked += 1
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so")
        return "job j moved"


@pytest.mark.parametrize("evidence", list(Evidence))
def test_switch_model_when_influence_is_found_then_whole_jobs_here_and_there_but_for_an_operators_word(
    module: ModuleType, evidence: Evidence, caplog: pytest.LogCaptureFixture
) -> None:
    said = manifest().execution.model_copy(update={"evidence": evidence})
    model = Model(manifest().model_copy(update={"execution": said}), None)
    shelf, heart = SimpleNamespace(find=lambda *_: model), Heart()
    module.switch_model(shelf, heart, Influence(("toy", "1"), "job7", 0.25, "the 7 rows beside it were replaced"))
    assert "the answer of job job7 moved by 2.5e-01 when the 7 rows beside it were replaced" in caplog.text
    is_switched = evidence is not Evidence.OVERRIDDEN
    assert model.is_batched is not is_switched
    assert [each[:2] for each in heart.told] == ([("toy", "1")] if is_switched else [])


def test_find_ready_when_a_check_switched_the_model_before_then_switched_before_its_first_job(
    module: ModuleType,
) -> None:
    model, heart = Model(manifest(), None), Heart()
    shelf = SimpleNamespace(find=lambda *_: model)
    heart.is_down = True
    assert module.find_ready(shelf, heart, "toy", "1") is None
    heart.is_down = False
    assert module.find_ready(shelf, heart, "toy", "1") is model
    assert not model.is_batched
    assert module.find_ready(shelf, heart, "toy", "1") is model
    assert heart.asked == 2
    assert module.find_ready(SimpleNamespace(find=lambda *_: None), heart, "toy", "1") is None


@pytest.mark.parametrize(("threads", "expected"), [(0, 3), (1, 1), (8, 8)])
def test_threads_of_when_none_are_set_then_one_for_each_core_of_the_process(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, threads: int, expected: int
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 3)
    assert module.threads_of(Settings(_env_file=None, ort_threads=threads)) == expected
