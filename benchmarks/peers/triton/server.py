"""Triton through PyTriton with the dynamic batcher. Source: PyTriton's documentation, "Binding model" and "Clients".

PyTriton starts the tritonserver of its wheel, whose Python backend hands batches to this process.
"""

import os

import numpy as np
from onnx_model import INNER_SHAPE, MAX_BATCH, OnnxModel
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MODEL = OnnxModel()


@batch
def infer(x: np.ndarray) -> list[np.ndarray]:
    """Run the rows of all requests at once."""
    return [MODEL.run(x)]


def main() -> None:
    """Serve until SIGTERM."""
    port = int(os.environ["BENCH_PORT"])
    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, allow_grpc=True, grpc_address="127.0.0.1", grpc_port=port + 1,
        allow_metrics=False, log_verbose=0,
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mnist",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=INNER_SHAPE)],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main()
