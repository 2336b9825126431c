"""LitServe with batching. Source: its documentation, "Batching" and "LitAPI"."""

import os

import litserve as ls
import numpy as np
from onnx_model import MAX_BATCH, OnnxModel

BATCH_TIMEOUT_S = 0.01  # of 2 and 10 ms the one with which it served more jobs/s at 64 clients


class Digits(ls.LitAPI):
    """Decode, batch, run, split, encode."""

    def setup(self, device: str) -> None:
        """Load the model, in the one worker process."""
        del device
        self._model = OnnxModel()

    def decode_request(self, request: dict) -> np.ndarray:
        """Return one row."""
        return np.asarray(request["x"], dtype=np.float32)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Return the rows as one array."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Run the rows of all requests at once."""
        return self._model.run(x)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """Return each row's scores."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict:
        """Return the answer's JSON."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    api = Digits(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), num_api_servers=1, generate_client_file=False,
        log_level="warning",
    )  # fmt: skip
