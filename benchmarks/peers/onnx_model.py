"""The model every peer serves: one onnxruntime session, one thread. Runs in each peer's own environment.

Knows nothing of the server around it.
"""

import os

import numpy as np
import onnxruntime

INNER_SHAPE = (28, 28)
MAX_BATCH = 64  # rows in one run, for every system alike


class OnnxModel:
    """The session of the file named by BENCH_MODEL."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def run(self, rows: np.ndarray) -> np.ndarray:
        """Run one batch. Shape: (N, 28, 28) or (N, 784) of any float type to (N, 10) float32."""
        batch = np.asarray(rows, dtype=np.float32).reshape(-1, *INNER_SHAPE)
        return self._session.run(None, {"x": batch})[0]
