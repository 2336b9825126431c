"""FastAPI in front of celery-batches: the worker gathers up to 64 tasks into one call.

Source: celery-batches' README ("Returning results": `mark_as_done` for each request) and its warning on the prefetch.
The timer is `flush_interval`.
"""

from functools import cache

import peer_setting
from celery_batches import Batches, SimpleRequest
from fastapi import FastAPI, Request, Response
from fastapi_row import answer, make_celery, read_row
from onnx_model import MAX_BATCH, OnnxModel

# Looks for results of 64 clients every 20 ms took more of the HTTP process than they gained.
POLL_S = 0.05

app = make_celery()
# The worker may hold this many messages a process; fewer than flush_every would never fill a batch.
app.conf.worker_prefetch_multiplier = 2 * MAX_BATCH
api = FastAPI()
load_model = cache(OnnxModel)


@app.task(base=Batches, flush_every=MAX_BATCH, flush_interval=peer_setting.TIMER_MS / 1000)
def classify(requests: list[SimpleRequest]) -> None:
    """Run the rows of all requests at once."""
    results = load_model().run([request.args[0] for request in requests])
    for request, result in zip(requests, results, strict=True):
        app.backend.mark_as_done(request.id, result.tolist(), request=request)


@api.post("/predict")
async def predict(request: Request) -> Response:
    """Send a task and look for its result until it is there."""
    return await answer(classify.delay(await read_row(request)), POLL_S)
