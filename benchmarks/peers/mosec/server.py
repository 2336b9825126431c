"""mosec with dynamic batching. Source: its documentation, "Concept" and the batching examples; JSON is its default."""

import numpy as np
from mosec import Server, Worker
from onnx_model import MAX_BATCH, OnnxModel

MAX_WAIT_MS = 10


class Digits(Worker):
    """The model's process."""

    def __init__(self) -> None:
        super().__init__()
        self._model = OnnxModel()

    def forward(self, data: list[dict]) -> list[dict]:
        """Run the rows of all requests at once."""
        rows = np.asarray([each["x"] for each in data], dtype=np.float32)
        return [{"probabilities": scores} for scores in self._model.run(rows).tolist()]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Digits, num=1, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS)
    server.run()
