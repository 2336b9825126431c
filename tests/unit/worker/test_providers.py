from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from ferry.errors import ConfigError, ModelRefusedError
from tests import onnx_models
from tests.unit.worker.conftest import put_model
from worker import providers as module
from worker.models import load_model
from worker.profiler import describe_machine
from worker.providers import CPU_PROVIDER, CUDA_PROVIDER, ON_CPU, Accelerator

ON_GPU = Accelerator("cuda")


class Sessions:
    """onnxruntime with CUDA compiled in: what it was asked for, and a session on the providers the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = [CUDA_PROVIDER, CPU_PROVIDER]
        self.at_start: Exception | None = None
        self.at_run: Exception | None = None
        self.asked: list[dict[str, object]] = []
        self.steps: list[str] = []
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER])
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: self.steps.append("preload"))
        monkeypatch.setattr(onnxruntime, "InferenceSession", self._start)

    def _start(self, model: object, options: object = None, **asked: object) -> "Sessions":
        self.steps.append("session")
        self.asked.append(asked)
        if self.at_start:
            raise self.at_start
        return self

    def get_providers(self) -> list[str]:
        return self.taken

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["N", 3])]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=["N", 3])]

    def get_overridable_initializers(self) -> list[SimpleNamespace]:
        return []

    def run(self, names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.steps.append("run")
        if self.at_run:
            raise self.at_run
        return list(feed.values())


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    return Sessions(monkeypatch)


# --- before the first model


def test_prepare_when_on_the_cpu_then_nothing_is_asked(sessions: Sessions) -> None:
    ON_CPU.prepare()
    assert sessions.steps == []


def test_prepare_when_onnxruntime_has_no_cuda_then_refused_with_the_remedy() -> None:
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ConfigError) as caught:
        ON_GPU.prepare()
    assert f"has no {CUDA_PROVIDER}, only " in caught.value.detail
    for part in (CPU_PROVIDER, onnxruntime.__version__, "worker-gpu", "ACCELERATOR=cuda", "FERRY_ORT_PROVIDER=cpu"):
        assert part in caught.value.detail


def test_prepare_when_cuda_computes_then_ready_and_its_libraries_came_first(sessions: Sessions) -> None:
    ON_GPU.prepare()
    assert sessions.steps == ["preload", "session", "run"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"taken": [CPU_PROVIDER]}, f"made a session on {CPU_PROVIDER} alone; "),
        ({"at_start": RuntimeError("CUDA failure 100: no device")}, "a first product failed: CUDA failure 100: no dev"),
        ({"at_run": RuntimeError("CUDA failure 209: no kernel")}, "a first product failed: CUDA failure 209: no ker"),
    ],
)
def test_prepare_when_cuda_does_not_compute_then_refused_with_the_reason_and_the_remedy(
    sessions: Sessions, change: dict[str, object], said: str
) -> None:
    for name, value in change.items():
        setattr(sessions, name, value)
    with pytest.raises(ConfigError) as caught:
        ON_GPU.prepare()
    assert said in caught.value.detail
    assert "nvidia-smi" in caught.value.detail


def test_product_when_run_then_a_model_onnxruntime_takes() -> None:
    session = onnxruntime.InferenceSession(module._product(), providers=ON_CPU.providers)
    assert session.run(None, {"x": np.full((1, 1), 3, np.float32)})[0].tolist() == [[9]]


# --- a model's session


def test_load_model_when_cuda_is_asked_then_cuda_first_and_never_silently_the_cpu(
    sessions: Sessions, tmp_path: Path
) -> None:
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString())
    load_model(tmp_path / "toy" / "1", made, threads=1, accelerator=ON_GPU)
    (asked,) = sessions.asked
    (name, options), rest = asked["providers"]
    assert (name, rest, asked["enable_fallback"]) == (CUDA_PROVIDER, CPU_PROVIDER, False)
    assert options == {"device_id": "0", "use_tf32": "0"}


def test_load_model_when_its_session_is_on_the_cpu_alone_then_refused(sessions: Sessions, tmp_path: Path) -> None:
    sessions.taken = [CPU_PROVIDER]
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString())
    with pytest.raises(
        ModelRefusedError, match=f"toy:1: FERRY_ORT_PROVIDER=cuda, but .* {CPU_PROVIDER} alone; .*nvidia"
    ):
        load_model(tmp_path / "toy" / "1", made, threads=1, accelerator=ON_GPU)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_load_model_when_the_real_onnxruntime_goes_on_with_the_cpu_then_refused(tmp_path: Path) -> None:
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString())
    with pytest.raises(ModelRefusedError, match=f"toy:1: .*made a session on {CPU_PROVIDER} alone"):
        load_model(tmp_path / "toy" / "1", made, threads=1, accelerator=ON_GPU)


# --- what a profile hangs on


def gpu(folder: Path, slot: str, text: str) -> None:
    (folder / slot).mkdir(parents=True)
    (folder / slot / "information").write_text(text)


def test_kind_when_on_a_gpu_then_each_model_of_the_machine_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "GPU_INFO", tmp_path)
    assert ON_GPU.kind == f"{CUDA_PROVIDER} on an unnamed GPU"
    gpu(tmp_path, "0000:01:00.0", "Model: \t\t NVIDIA L4\nIRQ:   \t\t 35\n")
    gpu(tmp_path, "0000:02:00.0", "Model: \t\t NVIDIA L4\n")
    gpu(tmp_path, "0000:03:00.0", "Model: \t\t NVIDIA H100 PCIe\n")
    (tmp_path / "0000:04:00.0" / "information").mkdir(parents=True)  # unreadable
    assert ON_GPU.kind == f"{CUDA_PROVIDER} on NVIDIA H100 PCIe and NVIDIA L4"


def test_describe_machine_when_on_a_gpu_then_another_machine_than_its_cpu() -> None:
    assert describe_machine(2, ON_GPU).startswith(f"{describe_machine(2)}, {CUDA_PROVIDER} on ")
    assert describe_machine(2) == describe_machine(2, ON_CPU)
