"""FastAPI in front of one Celery task per job: the request sends the task and waits for its result.

Source: Celery's "First Steps" (`delay`, then `ready` and `get`).
"""

import asyncio
import os
from functools import cache

from celery import Celery
from fastapi import FastAPI, HTTPException
from onnx_model import OnnxModel
from pydantic import BaseModel

# Polling from the event loop served more jobs/s here than `get` in the thread pool (which subscribes for each result).
POLL_S = 0.02
MAX_POLLS = 3000

app = Celery("peer", broker=os.environ["BENCH_REDIS_URL"], backend=os.environ["BENCH_REDIS_URL"])
api = FastAPI()
load_model = cache(OnnxModel)


class Row(BaseModel):
    """One digit."""

    x: list[list[float]]


@app.task
def classify(x: list[list[float]]) -> list[float]:
    """Run one row."""
    return load_model().run([x])[0].tolist()


@api.post("/predict")
async def predict(row: Row) -> dict[str, list[float]]:
    """Send a task and look for its result until it is there."""
    result = classify.delay(row.x)
    for _ in range(MAX_POLLS):
        if result.ready():
            return {"probabilities": result.get()}
        await asyncio.sleep(POLL_S)
    raise HTTPException(504)
