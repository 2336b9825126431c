"""`/v1/predictions`: submit a job, poll it, wait for it, cancel it (Replicate's and Cog's shapes)."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api import submission, wire
from api.addresses import base_url_of, location_of
from api.bodies import check_media_type
from api.context import caller_of, context_of
from api.headers import headers_of
from api.job_bodies import MOST_AT_ONCE, Kind, Reference, check_job_id
from api.large_answers import LARGE_BYTES, EncodedItems, in_pieces
from api.openapi import jobs as openapi
from api.preferences import wait_from_prefer, wait_from_query
from api.services import Services, services_of
from api.terms import key_from_header, terms_from_headers
from api.wire import JSONAnswer
from ferry.errors import FerryError, NotFoundError
from ferry.jobs import JobRecord, job_id_of, new_job_id

router = APIRouter(prefix="/v1/predictions", tags=["predictions"])

# Suggested pause before the first poll.
POLL_AFTER_S = "1"


@router.post(
    "", status_code=202, responses=openapi.PREDICTION_CREATED, openapi_extra=openapi.PREDICTION_BODY,
    response_class=JSONAnswer,
)  # fmt: skip
async def create_prediction(request: Request) -> JSONAnswer:
    """Submit a job of one or many rows.

    Answers 202 with where to poll; with `Prefer: wait` (or `?wait=`) 201 once the job is done, or 202 when the time
    runs out first. Everything is checked before anything is queued. With `Cancel-After: 90s` (5m, 2h, 200ms) the job is
    canceled when it is not done by then.
    """
    headers = headers_of(request)
    key = key_from_header(headers.get("idempotency-key"))
    own_id = job_id_of(caller_of(request).keyed(request.url.path, key)) if key else None
    return await _create(request, headers, own_id)


@router.post(
    "/many", status_code=202, responses=openapi.MANY_CREATED, openapi_extra=openapi.MANY_BODY,
    response_class=JSONAnswer,
)  # fmt: skip
async def create_predictions(request: Request) -> JSONAnswer:
    """Submit up to 100 jobs of one model at once, each with its own input, id and result.

    Everything is checked before anything is queued. `data` has an entry for each input, in order: the job, or an
    `error` where the queue did not take it; where it took none, the answer is that error. With `ids` of your own the
    same request sent again is the same jobs.
    """
    services, context, headers = services_of(request), context_of(request), headers_of(request)
    terms = terms_from_headers(headers)
    check_media_type(headers.get("content-type", ""))
    async with services.requests.opened(request, headers, Kind.MANY) as body:
        asked = body.reference
        entry = await body.find(services.catalog, asked.name or "", asked.version)
        rows = (await body.read(entry)).jobs
    await services.door.gate.confirm(context.caller)
    ids = asked.ids or [new_job_id() for _ in rows]
    jobs = await submission.run_many(
        services, entry, rows, ids, context=context, terms=terms, is_pinned=_is_pinned(asked)
    )
    data = EncodedItems()
    for job in jobs:
        await data.add(await _one_of_many(request, services, job))
    return JSONAnswer({"object": "list", "data": data.items}, 202)


@router.put(
    "/{job_id}", status_code=202, responses=openapi.PREDICTION_CREATED, openapi_extra=openapi.PREDICTION_BODY,
    response_class=JSONAnswer,
)  # fmt: skip
async def put_prediction(request: Request, job_id: str) -> JSONAnswer:
    """Submit a job under an id of your own; sent again it is the same job, whatever became of the first answer.

    Answers as POST does; 422 when the id stands for another input or other terms.
    """
    check_job_id(job_id, "job_id")
    return await _create(request, headers_of(request), job_id)


async def _create(request: Request, headers: Mapping[str, str], own_id: str | None) -> JSONAnswer:
    services, context = services_of(request), context_of(request)
    prefer, wait_s = _waits(request, headers, services)
    terms = terms_from_headers(headers)
    check_media_type(headers.get("content-type", ""))
    async with services.requests.opened(request, headers, Kind.PREDICTION) as body:
        asked = body.reference
        entry = await body.find(services.catalog, asked.name or "", asked.version)
        rows = (await body.read(entry)).jobs[0]
    await services.door.gate.confirm(context.caller)
    is_known = False
    if own_id is None:
        record = await submission.run(services, entry, rows, context=context, wait_s=wait_s, terms=terms)
    else:
        record, is_known = await submission.run_once(
            services,
            entry,
            rows,
            context=context,
            wait_s=wait_s,
            terms=terms,
            own_id=own_id,
            is_pinned=_is_pinned(asked),
        )
    content = await _shown(request, headers, services, record)
    answer = _created(request, content, record, wait_s, is_preferred=prefer is not None)
    if is_known:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


@router.get("", responses=openapi.PREDICTIONS, response_class=JSONAnswer)
async def read_predictions(
    request: Request,
    ids: Annotated[list[str], Query(alias="id", min_length=1, max_length=MOST_AT_ONCE, description="repeat it")],
) -> JSONAnswer:
    """Read up to 100 jobs at once, in the order asked for; those that are not there are listed in `missing`."""
    services, headers, caller = services_of(request), headers_of(request), caller_of(request)
    data, missing = EncodedItems(), []
    records = await services.queue.read_many([caller.job_id(called) for called in ids])
    for called, record in zip(ids, records, strict=True):
        if record is None or not caller.sees(record.owner):
            missing.append(called[:64])
        else:
            await data.add(await _shown(request, headers, services, record))
    return JSONAnswer({"object": "list", "data": data.items, "missing": missing})


@router.get("/{job_id}", responses=openapi.PREDICTION, openapi_extra=openapi.WAIT, response_class=JSONAnswer)
async def get_prediction(request: Request, job_id: str) -> JSONAnswer:
    """Read a job; with `Prefer: wait` or `?wait=` as soon as it is done, or as it is when the time is up."""
    services, headers = services_of(request), headers_of(request)
    _, wait_s = _waits(request, headers, services)
    known_as = caller_of(request).job_id(job_id)
    record = await (services.waiters.wait(known_as, wait_s) if wait_s else services.queue.read(known_as))
    return JSONAnswer(await _shown(request, headers, services, _found(request, job_id, record)))


@router.delete("/{job_id}", status_code=204, responses=openapi.DELETED, response_class=Response)
async def delete_prediction(request: Request, job_id: str) -> Response:
    """Forget a job with its input and result; one that is not done is canceled first."""
    if not await services_of(request).queue.delete(caller_of(request).job_id(job_id)):
        _found(request, job_id, None)
    return Response(status_code=204)


@router.post("/{job_id}/cancel", responses=openapi.PREDICTION, response_class=JSONAnswer)
async def cancel_prediction(request: Request, job_id: str) -> JSONAnswer:
    """Cancel a job: a waiting one is never run, a running one loses its result, a finished one stays as it is."""
    services = services_of(request)
    known_as = caller_of(request).job_id(job_id)
    await services.queue.cancel(known_as)
    record = _found(request, job_id, await services.queue.read(known_as))
    return JSONAnswer(await _shown(request, headers_of(request), services, record))


def _waits(request: Request, headers: Mapping[str, str], services: Services) -> tuple[float | None, float | None]:
    """Return the header's wait and the one that counts: the query's, if there is one."""
    prefer = wait_from_prefer(headers.get("prefer"), default_s=services.settings.default_wait_s)
    # An empty query is not worth parsing.
    query = request.query_params.get("wait") if request.scope["query_string"] else None
    return prefer, wait_from_query(query) or prefer


def _is_pinned(asked: Reference) -> bool:
    """Say whether the client named the version itself, so that another one is another job."""
    return asked.version is not None and asked.version.isdecimal()


async def _one_of_many(request: Request, services: Services, job: JobRecord | FerryError) -> dict[str, Any]:
    if isinstance(job, JobRecord):
        return await _shown(request, headers_of(request), services, job)
    error = {"code": job.code, "detail": job.detail, "retryable": job.retryable, "retry_after_s": job.retry_after_s}
    return {"error": error}


def _created(
    request: Request, content: dict[str, Any], record: JobRecord, wait_s: float | None, *, is_preferred: bool
) -> JSONAnswer:
    headers = {"Location": location_of(request, f"/v1/predictions/{content['id']}")}
    if is_preferred or not wait_s:
        headers["Preference-Applied"] = f"wait={wait_s:g}" if is_preferred and wait_s else "respond-async"
    if record.state.is_terminal:
        return JSONAnswer(content, 201, headers)
    # Replicate's clients take any status but `starting` as final, so an unfinished job is always that.
    content["status"] = "starting"
    headers["Retry-After"] = POLL_AFTER_S
    return JSONAnswer(content, 202, headers)


async def _shown(request: Request, headers: Mapping[str, str], services: Services, record: JobRecord) -> dict[str, Any]:
    entry = services.catalog.peek(record.model, record.version)
    base_url = base_url_of(request, headers)
    content = wire.prediction(
        record, entry, calls=caller_of(request).calls, base_url=base_url, flower_url=services.flower_url
    )
    if max(len(record.input or b""), len(record.output or b"")) <= LARGE_BYTES:
        return content
    return content | {name: await in_pieces(content[name]) for name in ("input", "output")}


def _found(request: Request, job_id: str, record: JobRecord | None) -> JobRecord:
    # Another's job is answered as one that is not there: ids tell nothing.
    if record is None or not caller_of(request).sees(record.owner):
        detail = f"no job {job_id[:64]!r}; finished jobs are forgotten after a while (FERRY_RESULT_TTL_S)"
        raise NotFoundError(detail)
    return record
