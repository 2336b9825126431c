"""W3: 1 to 512 rows per request, as JSON and as raw tensors on the Open Inference Protocol's route."""

import json
import time
from typing import Any

import numpy as np

from benchmarks.digits import rows
from benchmarks.ferry_system import PATH, WAITING, stack
from benchmarks.plan import Plan
from benchmarks.system import ask
from benchmarks.turns import SETTLE_S, fresh_folder, measured
from benchmarks.w1_waiting import Say
from benchmarks.wrk import Post

ROWS = (1, 8, 64, 512)
CLIENTS = 16  # enough rows under way to fill every batch
NOT_BUILT = "not built"


def json_post(base_url: str, n_rows: int) -> Post:
    """Return a job of rows as nested lists."""
    content = {"version": "mnist", "input": {"x": rows(n_rows).astype(float).round(6).tolist()}}
    return Post(base_url + PATH, json.dumps(content).encode(), WAITING)


def binary_post(base_url: str, model: str, array: np.ndarray) -> Post:
    """Return rows for input `x` as a raw little-endian tensor, the answer binary too (OIP's binary extension)."""
    raw = array.astype("<f4").tobytes()
    tensor = {
        "name": "x", "datatype": "FP32", "shape": list(array.shape), "parameters": {"binary_data_size": len(raw)},
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = (("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head))))
    return Post(f"{base_url}/v2/models/{model}/infer", head + raw, headers)


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Return rows/s by form and rows per request."""
    found: dict[str, Any] = {"clients": CLIENTS, "json": {}, "binary": {}}
    for _ in range(plan.other_repeats):
        folder = fresh_folder("w3")
        with stack(folder) as info:
            found["binary_state"] = "ok" if is_built(digits_post(info.api_url, 1)) else NOT_BUILT
            for form, make in (("json", json_post), ("binary", digits_post)):
                if form == "binary" and found["binary_state"] == NOT_BUILT:
                    continue
                for n_rows in ROWS:
                    post = make(info.api_url, n_rows)
                    figures = measured(post, clients=CLIENTS, seconds=plan.seconds, folder=folder)
                    figures["rows_per_s"] = round(figures["per_s"] * n_rows, 1)
                    found[form].setdefault(str(n_rows), []).append(figures)
                    say(f"W3 {form}, {n_rows} rows: {figures['rows_per_s']:,.0f} rows/s, {figures['errors']} errors")
            time.sleep(SETTLE_S)
    return found


def digits_post(base_url: str, n_rows: int) -> Post:
    """Return a job of digits as a raw tensor."""
    return binary_post(base_url, "mnist", rows(n_rows))


def is_built(post: Post) -> bool:
    """Say whether the route is there."""
    try:
        ask(post)
    except OSError as error:
        if str(error).startswith(("404", "405")):
            return False
        raise
    except ValueError:  # an answer, and not JSON: binary, as asked for
        return True
    return True
