"""Lines of OpenAI's batch files to rows and back, the same for every script. Runs in each peer's own environment.

Knows numpy and orjson only.
"""

from array import array
from collections.abc import Sequence

import numpy as np
import orjson

INNER_SHAPE = (28, 28)
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def read_rows(lines: Sequence[bytes | str]) -> tuple[list[str], np.ndarray]:
    """Return each request's custom_id and row. Shape: (N, 28, 28) float32."""
    ids, rows = [], []
    for line in lines:
        request = orjson.loads(line)
        ids.append(request["custom_id"])
        # Faster than numpy on the list: 12 us a row where that takes 16.
        rows.append(array("f", request["body"]["inputs"][0]["data"]))
    return ids, np.frombuffer(b"".join(rows), np.float32).reshape(-1, *INNER_SHAPE)


def write_answers(ids: Sequence[str], scores: np.ndarray) -> bytes:
    """Return a line per row in OpenAI's envelope. Shape: (N, 10) float32."""
    return b"".join(
        orjson.dumps(_answer(custom_id, row), option=_OPTIONS) for custom_id, row in zip(ids, scores, strict=True)
    )


def _answer(custom_id: str, row: np.ndarray) -> dict[str, object]:
    output = {"name": "probabilities", "datatype": "FP32", "shape": [1, len(row)], "data": row}
    body = {"model_name": "mnist", "model_version": "1", "outputs": [output]}
    response = {"status_code": 200, "request_id": f"req_{custom_id}", "body": body}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None}
