"""LitServe with batching. Source: its documentation, "Batching", "LitAPI" and `LitServer` (`fast_queue`).

LitServe hands the parameter `request` to FastAPI, so its annotation may be a dependency: with orjson the body crosses
to the model's process as bytes and is read there.
"""

import os
from typing import Annotated, Any

import litserve as ls
import numpy as np
import orjson
import peer_setting
from fastapi import Depends, Request, Response
from onnx_model import MAX_BATCH, OnnxModel


async def raw_body(request: Request) -> bytes:
    """Return the body as it came."""
    return await request.body()


class Digits(ls.LitAPI):
    """Decode, batch, run, split, encode; FastAPI's JSON."""

    def setup(self, device: str) -> None:
        """Load the model, in each model process."""
        del device
        self._model = OnnxModel()

    def decode_request(self, request: Request) -> np.ndarray:
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

    def encode_response(self, output: np.ndarray) -> Any:
        """Return the answer's JSON."""
        return {"probabilities": output.tolist()}


class OrjsonDigits(Digits):
    """The same with orjson."""

    def decode_request(self, request: Annotated[bytes, Depends(raw_body)]) -> np.ndarray:
        """Return one row."""
        return np.asarray(orjson.loads(request)["x"], dtype=np.float32)

    def encode_response(self, output: np.ndarray) -> Response:
        """Return the answer's JSON."""
        body = orjson.dumps({"probabilities": output}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(body, media_type="application/json")


if __name__ == "__main__":
    make_api = OrjsonDigits if peer_setting.JSON == "orjson" else Digits
    api = make_api(max_batch_size=MAX_BATCH, batch_timeout=peer_setting.TIMER_MS / 1000)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=peer_setting.PROCESSES, fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), num_api_servers=peer_setting.FRONTS,
        generate_client_file=False, log_level="warning",
    )  # fmt: skip
