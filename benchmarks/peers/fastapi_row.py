"""What the two Celery peers share: the route's body and answer, Celery's serializer, the wait for a result.

Runs in each of their environments. Source: FastAPI's "Using the Request Directly", kombu's "Serialization" (custom
serializers) and Celery's `task_serializer`.
"""

import asyncio
import os

import orjson
import peer_setting
from celery import Celery
from celery.result import AsyncResult
from fastapi import HTTPException, Request, Response
from kombu.serialization import register

WAIT_S = 60.0


def make_celery() -> Celery:
    """Return an application on this run's Redis, with this run's JSON."""
    app = Celery("peer", broker=os.environ["BENCH_REDIS_URL"], backend=os.environ["BENCH_REDIS_URL"])
    if peer_setting.JSON == "orjson":
        register("orjson", orjson.dumps, orjson.loads, content_type="application/x-orjson", content_encoding="utf-8")
        app.conf.update(task_serializer="orjson", result_serializer="orjson", accept_content=["orjson"])
    return app


async def read_row(request: Request) -> list[list[float]]:
    """Return the row of a request's body."""
    body = orjson.loads(await request.body()) if peer_setting.JSON == "orjson" else await request.json()
    return body["x"]


async def answer(result: AsyncResult, poll_s: float) -> Response:
    """Look for a result every `poll_s` until it is there.

    Polling from the event loop served more jobs/s than `get` in a thread pool, which subscribes for each result.
    """
    for _ in range(int(WAIT_S / poll_s)):
        if result.ready():
            return Response(orjson.dumps({"probabilities": result.get()}), media_type="application/json")
        await asyncio.sleep(poll_s)
    raise HTTPException(504)
