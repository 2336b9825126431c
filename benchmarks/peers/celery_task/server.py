"""FastAPI in front of one Celery task per job: the request sends the task and waits for its result.

Source: Celery's "First Steps" (`delay`, then `ready` and `get`). The timer is the pause between two looks.
"""

from functools import cache

import peer_setting
from fastapi import FastAPI, Request, Response
from fastapi_row import answer, make_celery, read_row
from onnx_model import OnnxModel

app = make_celery()
api = FastAPI()
load_model = cache(OnnxModel)


@app.task
def classify(x: list[list[float]]) -> list[float]:
    """Run one row."""
    return load_model().run([x])[0].tolist()


@api.post("/predict")
async def predict(request: Request) -> Response:
    """Send a task and look for its result until it is there."""
    return await answer(classify.delay(await read_row(request)), peer_setting.TIMER_MS / 1000)
