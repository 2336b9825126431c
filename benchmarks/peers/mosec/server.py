"""mosec with dynamic batching. Source: its documentation, "Concept" (dynamic batching; customized serialization).

Without `deserialize` and `serialize` of our own mosec reads and writes JSON with Python's `json`.
"""

from typing import Any

import numpy as np
import orjson
import peer_setting
from mosec import Server, Worker
from mosec.errors import DecodingError
from onnx_model import MAX_BATCH, OnnxModel


class Digits(Worker):
    """One process with the model; mosec's default JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._model = OnnxModel()

    def forward(self, data: list[dict]) -> list[dict]:
        """Run the rows of all requests at once."""
        rows = np.asarray([each["x"] for each in data], dtype=np.float32)
        return [{"probabilities": scores} for scores in self._model.run(rows).tolist()]


class OrjsonDigits(Digits):
    """The same with orjson."""

    def deserialize(self, data: bytes) -> Any:
        """Read one request's body."""
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise DecodingError(str(error)) from error

    def serialize(self, data: Any) -> bytes:
        """Write one answer's body."""
        return orjson.dumps(data)


if __name__ == "__main__":
    server = Server()
    worker = OrjsonDigits if peer_setting.JSON == "orjson" else Digits
    # A wait of 0 here means the one of `--wait`, which is the same timer.
    server.append_worker(
        worker, num=peer_setting.PROCESSES, max_batch_size=MAX_BATCH, max_wait_time=int(peer_setting.TIMER_MS)
    )
    server.run()
