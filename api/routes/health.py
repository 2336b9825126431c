"""`/v2/health`: whether this process lives, and whether a job sent now would be served."""

from fastapi import APIRouter, Request

from api.openapi import fleet as openapi
from api.services import services_of
from api.wire import JSONAnswer
from ferry.errors import NoWorkerError, UnsafeRedisError
from ferry.local.part_states import read_states

# An operator changes Redis' settings by hand.
RETRY_AFTER_S = 60

router = APIRouter(prefix="/v2/health", tags=["health"])


@router.get("/live", responses=openapi.LIVE, response_class=JSONAnswer)
async def live() -> JSONAnswer:
    """Answer while the process lives."""
    return JSONAnswer({"live": True})


@router.get("/ready", responses=openapi.READY, response_class=JSONAnswer)
async def ready(request: Request) -> JSONAnswer:
    """Answer 200 when Redis answers and at least one worker serves a model; name what is broken.

    Where Redis may lose waiting jobs, `warnings` says how; with FERRY_REQUIRE_SAFE_REDIS that is a 503.
    """
    services = services_of(request)
    await services.queue.ping()
    if not any(entry.live_workers for entry in services.catalog.entries):
        await services.catalog.look_again()
    if not any(entry.live_workers for entry in services.catalog.entries):
        raise NoWorkerError("no live worker serves any model")
    faults = (await services.safety.read()).faults if services.safety else ()
    if faults and services.settings.require_safe_redis:
        raise UnsafeRedisError("; ".join(faults), retry_after_s=RETRY_AFTER_S)
    # Without a key anybody may ask: the names, not the reasons, which quote paths.
    broken = [f"{each.name}:{each.version}" for each in services.catalog.broken]
    down = {state.name: state.reason for state in read_states(services.settings.data_dir) if not state.is_up}
    said = {"broken_models": broken, "parts_down": down, "warnings": list(faults)}
    return JSONAnswer({"ready": True} | {name: parts for name, parts in said.items() if parts})
