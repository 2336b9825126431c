"""`/v2/health`: whether this process lives, and whether a job sent now would be served."""

from fastapi import APIRouter, Request

from api.openapi import fleet as openapi
from api.services import services_of
from api.wire import JSONAnswer
from ferry.errors import NoWorkerError, QueueUnavailableError

# An operator changes Redis' settings by hand.
RETRY_AFTER_S = 60

router = APIRouter(prefix="/v2/health", tags=["health"])


@router.get("/live", responses=openapi.LIVE, response_class=JSONAnswer)
async def live() -> JSONAnswer:
    """Answer while the process lives."""
    return JSONAnswer({"live": True})


@router.get("/ready", responses=openapi.READY, response_class=JSONAnswer)
async def ready(request: Request) -> JSONAnswer:
    """Answer 200 when Redis answers and at least one worker serves a model.

    Where Redis may lose waiting jobs, `warnings` says how; with FERRY_REQUIRE_SAFE_REDIS that is a 503.
    """
    services = services_of(request)
    await services.queue.ping()
    if not any(entry.live_workers for entry in services.catalog.entries):
        await services.catalog.refresh()
    if not any(entry.live_workers for entry in services.catalog.entries):
        raise NoWorkerError("no live worker serves any model")
    faults = (await services.safety.read()).faults if services.safety else ()
    if faults and services.settings.require_safe_redis:
        raise QueueUnavailableError("; ".join(faults), retry_after_s=RETRY_AFTER_S)
    return JSONAnswer({"ready": True, "warnings": list(faults)} if faults else {"ready": True})
