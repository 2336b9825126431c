"""FastAPI in front of celery-batches: the worker gathers up to 64 tasks into one call.

Source: celery-batches' README ("Returning results": `mark_as_done` for each request) and its warning on the prefetch.
"""

import asyncio
import os
from functools import cache

from celery import Celery
from celery_batches import Batches, SimpleRequest
from fastapi import FastAPI, HTTPException
from onnx_model import MAX_BATCH, OnnxModel
from pydantic import BaseModel

# Polling from the event loop served more jobs/s here than `get` in the thread pool (which subscribes for each result).
POLL_S = 0.02
MAX_POLLS = 3000
FLUSH_INTERVAL_S = 0.01

app = Celery("peer", broker=os.environ["BENCH_REDIS_URL"], backend=os.environ["BENCH_REDIS_URL"])
# With one process the worker may hold this many messages; fewer than flush_every would never fill a batch.
app.conf.worker_prefetch_multiplier = 2 * MAX_BATCH
api = FastAPI()
load_model = cache(OnnxModel)


class Row(BaseModel):
    """One digit."""

    x: list[list[float]]


@app.task(base=Batches, flush_every=MAX_BATCH, flush_interval=FLUSH_INTERVAL_S)
def classify(requests: list[SimpleRequest]) -> None:
    """Run the rows of all requests at once."""
    results = load_model().run([request.args[0] for request in requests])
    for request, result in zip(requests, results, strict=True):
        app.backend.mark_as_done(request.id, result.tolist(), request=request)


@api.post("/predict")
async def predict(row: Row) -> dict[str, list[float]]:
    """Send a task and look for its result until it is there."""
    result = classify.delay(row.x)
    for _ in range(MAX_POLLS):
        if result.ready():
            return {"probabilities": result.get()}
        await asyncio.sleep(POLL_S)
    raise HTTPException(504)
