"""Where sessions run: on the CPU or on an NVIDIA GPU. Refuses a GPU that does not compute; knows no models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from ferry.errors import ConfigError

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
# The first that the process sees; CUDA_VISIBLE_DEVICES says which one that is.
FIRST_GPU = 0
# NVIDIA's driver has a folder per GPU here, with a line `Model: ...`, in containers too.
GPU_INFO = Path("/proc/driver/nvidia/gpus")
REMEDY = (
    "see that `nvidia-smi` lists a GPU where the worker runs (a container needs docker-compose.gpu.yml) and that its "
    "driver knows this onnxruntime's CUDA (580 or newer for CUDA 13), or set FERRY_ORT_PROVIDER=cpu"
)

ProviderName = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What every session of this process runs on."""

    name: ProviderName = "cpu"

    @property
    def providers(self) -> list[Any]:
        """The `providers` argument of a session, best first."""
        if self.name == "cpu":
            return [CPU_PROVIDER]
        # TF32 keeps 10 bits of a float32's mantissa: results would differ from the CPU's in the third digit.
        options = {"device_id": str(FIRST_GPU), "use_tf32": "0"}
        # The CPU beside it, for operators that CUDA does not have.
        return [(CUDA_PROVIDER, options), CPU_PROVIDER]

    @property
    def kind(self) -> str:
        """What a profile hangs on besides processor and threads; empty on the CPU."""
        return "" if self.name == "cpu" else f"{CUDA_PROVIDER} on {_gpus()}"

    def prepare(self) -> None:
        """Load what its sessions need and compute a little on it; before the first session.

        Raises:
            ConfigError: it cannot be used, why not, and what to do.
        """
        if self.name == "cpu":
            return
        available = onnxruntime.get_available_providers()
        if CUDA_PROVIDER not in available:
            raise ConfigError(
                f"FERRY_ORT_PROVIDER=cuda, but onnxruntime {onnxruntime.__version__} as installed has no "
                f"{CUDA_PROVIDER}, only {', '.join(available)}; install the dependency group worker-gpu in place of "
                "worker, run the image built with ACCELERATOR=cuda, or set FERRY_ORT_PROVIDER=cpu"
            )
        # CUDA and cuDNN come as wheels, whose folders the system's loader does not search.
        onnxruntime.preload_dlls()
        try:
            session = onnxruntime.InferenceSession(_product(), providers=self.providers, enable_fallback=False)
            reason = self.why_not_on(session)
            if not reason:
                session.run(None, {"x": np.ones((1, 1), np.float32)})
        except Exception as error:  # noqa: BLE001  whatever it is, no model would run either
            reason = f"FERRY_ORT_PROVIDER=cuda, but a first product failed: {error}; {REMEDY}"
        if reason:
            raise ConfigError(reason)

    def why_not_on(self, session: Any) -> str:
        """Return why a session is not on this accelerator; empty where it is.

        onnxruntime only warns where CUDA cannot start, and goes on with the CPU.
        """
        taken = session.get_providers()
        if self.name == "cpu" or CUDA_PROVIDER in taken:
            return ""
        return f"FERRY_ORT_PROVIDER=cuda, but onnxruntime made a session on {', '.join(taken)} alone; {REMEDY}"


ON_CPU = Accelerator()


def _product() -> bytes:
    """Return a model of one matrix product, y = x x of shape (1, 1): it needs the driver, CUDA and cuBLAS."""
    from onnx import TensorProto, helper  # noqa: PLC0415  only a GPU's worker pays for it

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", [x], [y])
    # Older than onnx's own defaults, which onnxruntime may not know yet.
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


def _gpus() -> str:
    """Return the models of the machine's GPUs, each once."""
    models = set()
    for file in GPU_INFO.glob("*/information"):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        models |= {line.partition(":")[2].strip() for line in lines if line.startswith("Model:")}
    return " and ".join(sorted(models)) or "an unnamed GPU"
