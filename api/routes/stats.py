"""`/v1/stats`: what waits, who serves it and how fast it goes; once, or as it changes."""

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from api import load_wire
from api.load_feed import EVERY_S, LoadFeed
from api.openapi import fleet as openapi
from api.services import Services, services_of
from api.wire import JSONAnswer
from ferry.errors import FerryError, NotFoundError

router = APIRouter(prefix="/v1/stats", tags=["stats"])

# A stream ends after this and its client comes back, with its key looked at again.
STREAM_S = 300.0
# Milliseconds after which a client comes back (HTML Living Standard, server-sent events).
_COME_BACK = b"retry: 2000\n\n"


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


@router.get("", responses=openapi.STATS, response_class=JSONAnswer)
async def show_stats(request: Request) -> JSONAnswer:
    """Show per model the jobs and rows that wait, the oldest's age, live workers, jobs/s, rows/s and rows per batch.

    Rates are averages over the last seconds (`over_s`); the first who asks waits a second for them.
    """
    services = services_of(request)
    pace = await _feed(services).with_rates()
    return JSONAnswer(load_wire.stats(pace, flower_url=services.flower_url))


@router.get("/events", responses=openapi.STATS_EVENTS, response_class=EventStream)
async def follow_stats(request: Request) -> EventStream:
    """Send the same every three seconds as server-sent events: `stats`, or `problem` while Redis does not answer.

    The stream ends after five minutes; clients of server-sent events come back by themselves.
    """
    services = services_of(request)
    # nginx passes each event on at once.
    return EventStream(_events(services, _feed(services)), headers={"X-Accel-Buffering": "no"})


async def _events(services: Services, feed: LoadFeed) -> AsyncIterator[bytes]:
    yield _COME_BACK
    ends = time.monotonic() + STREAM_S
    while time.monotonic() < ends and not services.waiters.is_released:
        try:
            shown = load_wire.stats(await feed.now(), flower_url=services.flower_url)
            yield _event(b"stats", shown)
        except FerryError as error:
            yield _event(b"problem", {"code": error.code, "title": error.title, "detail": error.detail})
        await asyncio.sleep(EVERY_S)


def _event(name: bytes, data: dict[str, object]) -> bytes:
    return b"event: " + name + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _feed(services: Services) -> LoadFeed:
    if services.load_feed is None:
        raise NotFoundError("this API keeps no counts")
    return services.load_feed
