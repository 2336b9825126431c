"""MLServer with adaptive batching and a custom runtime. Source: its documentation, "Custom inference runtimes".

The model runs in the server's process (`parallel_workers` 0), which served more jobs/s than a worker process beside it.
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
