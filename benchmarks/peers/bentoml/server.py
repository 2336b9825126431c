"""BentoML with adaptive batching. Source: its documentation, "Adaptive batching" and "Workers".

Its JSON is pydantic's, written in Rust, and cannot be replaced. It has no batching timer: the dispatcher chooses the
wait by itself, and `max_latency_ms` is a limit beyond which requests are refused.
"""

from typing import Annotated

import bentoml
import numpy as np
import peer_setting
from bentoml.validators import DType, Shape
from onnx_model import MAX_BATCH, OnnxModel

Rows = Annotated[np.ndarray, Shape((-1, 28, 28)), DType("float32")]
Scores = Annotated[np.ndarray, Shape((-1, 10)), DType("float32")]


@bentoml.service(workers=peer_setting.PROCESSES)
class Digits:
    """One process with HTTP and the model."""

    def __init__(self) -> None:
        self._model = OnnxModel()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH)
    def predict(self, x: Rows) -> Scores:
        """Run the rows of all requests at once."""
        return self._model.run(x)
