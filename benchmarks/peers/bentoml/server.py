"""BentoML with adaptive batching. Source: its documentation, "Adaptive batching" and "Workers"."""

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType, Shape
from onnx_model import MAX_BATCH, OnnxModel

Rows = Annotated[np.ndarray, Shape((-1, 28, 28)), DType("float32")]
Scores = Annotated[np.ndarray, Shape((-1, 10)), DType("float32")]


@bentoml.service(workers=1)
class Digits:
    """One process with the model."""

    def __init__(self) -> None:
        self._model = OnnxModel()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH)
    def predict(self, x: Rows) -> Scores:
        """Run the rows of all requests at once."""
        return self._model.run(x)
