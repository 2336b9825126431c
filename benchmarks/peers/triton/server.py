"""Triton through PyTriton with the dynamic batcher. Source: PyTriton's documentation, "Binding model" and "Clients".

PyTriton starts the tritonserver of its wheel, whose Python backend hands batches to this process. Its
JSON is RapidJSON. Several instances are several inference callables, as "Binding model" describes.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import peer_setting
from onnx_model import INNER_SHAPE, MAX_BATCH, OnnxModel
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def make_infer() -> Callable[..., Any]:
    """Return the inference callable of one instance, with a model of its own."""
    model = OnnxModel()

    @batch
    def infer(x: np.ndarray) -> list[np.ndarray]:
        """Run the rows of all requests at once."""
        return [model.run(x)]

    return infer


def main() -> None:
    """Serve until SIGTERM."""
    port, delay_us = int(os.environ["BENCH_PORT"]), int(peer_setting.TIMER_MS * 1000)
    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, allow_grpc=True, grpc_address="127.0.0.1", grpc_port=port + 1,
        allow_metrics=False, log_verbose=0,
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mnist",
            infer_func=[make_infer() for _ in range(peer_setting.PROCESSES)],
            inputs=[Tensor(name="x", dtype=np.float32, shape=INNER_SHAPE)],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=delay_us)),
        )
        triton.serve()


if __name__ == "__main__":
    main()
