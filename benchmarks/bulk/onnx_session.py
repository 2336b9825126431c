"""The session that every script runs: onnxruntime on one thread that does not spin, as a worker of Ferry has it."""

from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.bulk.data import INPUT

# Best for the mlp, and within a tenth of the best for the cnn, of 64 to 1,024 on two cores of an AMD EPYC.
BATCH_ROWS = 256


def open_session(model: Path) -> onnxruntime.InferenceSession:
    """Load a model and run it once, so that the first batch does not pay for that."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    session.run(None, {INPUT: np.zeros((BATCH_ROWS, *session.get_inputs()[0].shape[1:]), np.float32)})
    return session


def run_rows(session: onnxruntime.InferenceSession, rows: np.ndarray) -> np.ndarray:
    """Run rows in batches. Shape: (N, 28, 28) float32 to (N, 10) float32."""
    batches = [
        session.run(None, {INPUT: rows[first : first + BATCH_ROWS]})[0] for first in range(0, len(rows), BATCH_ROWS)
    ]
    return np.concatenate(batches)
