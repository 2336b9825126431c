"""`/v1/dead-letters`: jobs that were given up since their workers died; look at them, replay or drop them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api import submission, wire
from api.addresses import base_url_of, location_of
from api.context import caller_of, context_of
from api.headers import headers_of
from api.openapi import jobs as openapi
from api.services import Services, services_of
from api.wire import JSONAnswer
from ferry.errors import NotFoundError
from ferry.jobs import WORKER_LOST, DeadLetter, JobRecord

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

MOST_A_PAGE = 100


@router.get("", responses=openapi.DEAD_LETTERS, response_class=JSONAnswer)
async def list_dead_letters(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> JSONAnswer:
    """List dead letters, the last first."""
    services = services_of(request)
    letters, total = await services.dead_letters.list_dead(offset=offset, limit=limit)
    data = [_letter(request, services, letter) for letter in letters]
    return JSONAnswer({"object": "list", "data": data, "total": total, "has_more": offset + limit < total})


@router.get("/{job_id}", responses=openapi.DEAD_LETTER, response_class=JSONAnswer)
async def show_dead_letter(request: Request, job_id: str) -> JSONAnswer:
    """Show one dead letter, with its input where that is small."""
    services = services_of(request)
    return JSONAnswer(_shown(request, services, await _found(request, services, job_id)))


@router.post("/{job_id}/replay", status_code=202, responses=openapi.REPLAYED, response_class=JSONAnswer)
async def replay_dead_letter(request: Request, job_id: str) -> JSONAnswer:
    """Submit its input as a new job, which says `replay_of`, and take the letter off the list."""
    services = services_of(request)
    context = context_of(request)
    record = await submission.replay(services, context.caller.job_id(job_id), context)
    content = _shown(request, services, record)
    return JSONAnswer(content, 202, {"Location": location_of(request, f"/v1/predictions/{content['id']}")})


@router.delete("/{job_id}", status_code=204, responses=openapi.DELETED, response_class=Response)
async def drop_dead_letter(request: Request, job_id: str) -> Response:
    """Forget a dead letter and its input."""
    services = services_of(request)
    letter = await _found(request, services, job_id)
    await services.queue.delete(letter.id)
    return Response(status_code=204)


async def _found(request: Request, services: Services, job_id: str) -> JobRecord:
    record = await services.queue.read(caller_of(request).job_id(job_id))
    if record is None or record.error_code != WORKER_LOST:
        raise NotFoundError(f"no dead letter {job_id[:64]!r}; GET /v1/dead-letters lists them")
    return record


def _letter(request: Request, services: Services, letter: DeadLetter) -> dict[str, Any]:
    return _shown(request, services, letter.record) | {"died_at": wire.timestamp(letter.died_ms * 1000)}


def _shown(request: Request, services: Services, record: JobRecord) -> dict[str, Any]:
    entry = services.catalog.peek(record.model, record.version)
    base_url = base_url_of(request, headers_of(request))
    return wire.prediction(
        record, entry, calls=caller_of(request).calls, base_url=base_url, flower_url=services.flower_url
    )
