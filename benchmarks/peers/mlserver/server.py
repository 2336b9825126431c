"""MLServer with adaptive batching and a custom runtime. Source: its documentation, "Custom inference runtimes",
"Adaptive batching" and "Parallel inference".

MLServer reads these settings from the environment itself: MLSERVER_PARALLEL_WORKERS (0: the model runs in the server's
process) and MLSERVER_MODEL_MAX_BATCH_TIME (0: no batches). It uses orjson where that is installed, as here.
"""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Digits(MLModel):
    """The model's process."""

    async def load(self) -> bool:
        """Load the model."""
        self._model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the rows of all requests at once."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        scores = self._model.run(rows)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", scores)])
