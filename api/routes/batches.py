"""`/v1/batches`: run a whole file through a model, watch it, cancel it (OpenAI's shapes)."""

import asyncio
import time
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api import batch_wire
from api.batch_output import POLL_S, OutputReader, kind_of
from api.batch_requests import BatchRequest, read_batch_request
from api.batch_retries import check_retry, filled_in, retry_of
from api.bodies import read_json_object
from api.context import Context, caller_of, context_of
from api.headers import headers_of
from api.openapi import batches as openapi
from api.output_stream import OutputStream
from api.refusals import over_limits
from api.services import BatchBook, FileBook, Services, services_of
from api.terms import key_from_header
from api.wire import JSONAnswer
from ferry.bulk.batch_records import BatchRecord, BatchSpec, Opened
from ferry.bulk.batches import batch_id_of, new_batch_id
from ferry.bulk.formats.text_rows import TextKind
from ferry.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    QueueDrainingError,
    QueueFullError,
    QueueUnavailableError,
    ReusedError,
    WaitTimeoutError,
)
from ferry.manifest import Manifest

router = APIRouter(prefix="/v1/batches", tags=["batches"])

MOST_A_PAGE = 100
LATER_RETRY_AFTER_S = 30
# A reader of the output waits this long for the file to be checked.
FORMAT_WAIT_S = 60.0
# More rows than any file has.
MAX_ROW = 10**15


@router.post("", responses=openapi.BATCH_CREATED, openapi_extra=openapi.BATCH_BODY, response_class=JSONAnswer)
async def create_batch(request: Request) -> JSONAnswer:
    """Run every row of a stored file; a worker checks the file first (`validating`).

    With an `Idempotency-Key` the same request sent again is the same batch. With `metadata.retry_of` the rows that
    failed in an earlier batch are run again, and its output is merged with theirs.
    """
    services, headers = services_of(request), headers_of(request)
    key = key_from_header(headers.get("idempotency-key"))
    body = await read_json_object(request, headers, max_bytes=services.settings.max_body_bytes)
    context = context_of(request)
    caller = context.caller
    await services.door.gate.confirm(caller)
    context.work_id = batch_id = batch_id_of(caller.keyed(request.url.path, key)) if key else new_batch_id()
    earlier_id = retry_of(body)
    earlier = await _found(request, earlier_id) if earlier_id is not None else None
    asked = read_batch_request(
        filled_in(body, earlier) if earlier else body, default_model=services.settings.default_model
    )
    ref = (earlier.model, earlier.version) if earlier else (asked.model, asked.version)
    entry = await services.catalog.find(*ref)
    spec = BatchSpec(
        batch_id, entry.manifest.name, entry.manifest.version, asked.endpoint, asked.input_file_id, asked.window_s,
        asked.completion_window, asked.metadata, asked.output_ttl_s, asked.fingerprint if key else "",
        caller.owner, context.limits, caller.lists,
    )  # fmt: skip
    if earlier:
        spec = await _retrying(spec, earlier, services)
    opened = await _batches(services).open(spec)
    if opened is Opened.UNREGISTERED:
        await services.catalog.register(entry)
        opened = await _batches(services).open(spec)
    _check(opened, asked, entry.manifest, services, context)
    answer = JSONAnswer(batch_wire.batch(await _found(request, batch_id)))
    if opened is Opened.EXISTS and key:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


@router.get("", responses=openapi.BATCHES, response_class=JSONAnswer)
async def list_batches(
    request: Request,
    after: Annotated[str | None, Query(description="the last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE)] = 20,
) -> JSONAnswer:
    """List batches, the newest first."""
    records, has_more = await _batches(services_of(request)).list_page(
        after=after, limit=limit, owner=caller_of(request).lists
    )
    data = [batch_wire.batch(record) for record in records]
    ends = {"first_id": records[0].id, "last_id": records[-1].id} if records else {"first_id": None, "last_id": None}
    return JSONAnswer({"object": "list", "data": data, **ends, "has_more": has_more})


@router.get("/{batch_id}", responses=openapi.BATCH, response_class=JSONAnswer)
async def get_batch(request: Request, batch_id: str) -> JSONAnswer:
    """Show one batch, with its progress."""
    return JSONAnswer(batch_wire.batch(await _found(request, batch_id)))


@router.get("/{batch_id}/output", responses=openapi.BATCH_OUTPUT, response_class=Response)
async def get_output(
    request: Request,
    batch_id: str,
    from_row: Annotated[int, Query(ge=0, le=MAX_ROW, description="rows of the output to leave out")] = 0,
) -> Response:
    """Read the output while the batch runs: finished parts in the order of the input, until the batch is over.

    What is read from row 0 is the output file, byte for byte: JSONL, CSV or TSV. Later rows come without a header. A
    stream that ends early is cut; count the whole rows that came and ask again from there.
    """
    services = services_of(request)
    for name in request.query_params:
        if name != "from_row":
            raise InvalidInputError.at(name[:40], f"unknown query parameter {name[:40]!r}; there is from_row")
    record = await _found(request, batch_id)
    services.followers.enter()
    try:
        record, kind = await _readable(request, record)
        reader = OutputReader(
            _batches(services), _files(services).storage, record, kind, from_row,
            is_stopping=lambda: services.waiters.is_released,
        )  # fmt: skip
    except BaseException:
        services.followers.leave()
        raise
    return OutputStream(
        reader.pieces(), kind.media_type, {"X-Accel-Buffering": "no"}, on_end=services.followers.leave
    )  # fmt: skip


async def _readable(request: Request, record: BatchRecord) -> tuple[BatchRecord, TextKind]:
    """Return a batch whose output format is known; that is when its file was checked.

    Raises:
        WaitTimeoutError: it is not known in time.
        NotFoundError: the batch is over, and its output file is gone.
    """
    gives_up = time.monotonic() + FORMAT_WAIT_S
    while (kind := kind_of(record)) is None:
        if time.monotonic() >= gives_up or services_of(request).waiters.is_released or await request.is_disconnected():
            detail = f"the file of {record.id} is not checked yet, so its output format is not known; ask again"
            raise WaitTimeoutError(detail, retry_after_s=1)
        await asyncio.sleep(POLL_S)
        record = await _found(request, record.id)
    files = _files(services_of(request))
    if record.output_file_id and await files.get(record.output_file_id) is None:
        raise NotFoundError(f"the output file of {record.id} was deleted, or its time is over")
    return record, kind


@router.post("/{batch_id}/cancel", responses=openapi.BATCH_CANCELLED, response_class=JSONAnswer)
async def cancel_batch(request: Request, batch_id: str) -> JSONAnswer:
    """Cancel a batch: what is done is kept, the rows that were not run are named in its error file."""
    services = services_of(request)
    if caller_of(request).key is not None:
        await _found(request, batch_id)
    was_open = await _batches(services).cancel(batch_id)
    record = await _found(request, batch_id)
    if not was_open and record.cancelling_us is None:
        state = record.status if record.status.is_terminal else record.ending or record.status
        raise ConflictError(f"batch {batch_id} is {state.value} and cannot be cancelled any more")
    return JSONAnswer(batch_wire.batch(record))


async def _retrying(spec: BatchSpec, earlier: BatchRecord, services: Services) -> BatchSpec:
    """Return the batch that runs the failed rows of another; the same request again needs no files any more."""
    if await _batches(services).get(spec.id) is None:
        await check_retry(earlier, _files(services))
    return replace(
        spec, metadata={**earlier.metadata, **spec.metadata}, retry_output_id=earlier.output_file_id,
        retry_error_id=earlier.error_file_id,
    )  # fmt: skip


def _check(opened: Opened, asked: BatchRequest, manifest: Manifest, services: Services, context: Context) -> None:
    """Refuse what the queue refused."""
    if opened is Opened.NO_FILE:
        detail = f"no file {asked.input_file_id[:64]!r}; POST /v1/files stores one, GET /v1/files lists them"
        raise NotFoundError(detail)
    if opened in (Opened.OVER_RATE, Opened.OVER_UNFINISHED) and context.limits:
        raise over_limits(context.limits, is_rate=opened is Opened.OVER_RATE)
    if opened is Opened.WRONG_PURPOSE:
        detail = f"file {asked.input_file_id} was not stored with purpose=batch; store it again with that purpose"
        raise InvalidInputError.at("#/input_file_id", detail)
    if opened is Opened.DIFFERS:
        raise ReusedError("a batch was asked for under this Idempotency-Key with another body; choose another key")
    if opened is Opened.DRAINING:
        ref = manifest.ref
        detail = f"{ref} takes no new batches: an operator lets its queue run empty (ferry queue resume {ref})"
        raise QueueDrainingError(detail, retry_after_s=LATER_RETRY_AFTER_S)
    if opened is Opened.FULL:
        limit = services.settings.max_batches
        detail = f"{limit} batches are under way, which is the limit (FERRY_MAX_BATCHES); wait for one, or cancel one"
        raise QueueFullError(detail, retry_after_s=LATER_RETRY_AFTER_S)
    if opened is Opened.UNREGISTERED:
        raise QueueUnavailableError(f"Redis forgot {manifest.ref} twice; is it being wiped?", retry_after_s=1)


def _files(services: Services) -> FileBook:
    if services.files is None:
        raise TypeError("the application was started without files")
    return services.files


def _batches(services: Services) -> BatchBook:
    if services.batches is None:
        raise TypeError("the application was started without batches")
    return services.batches


async def _found(request: Request, batch_id: str) -> BatchRecord:
    record = await _batches(services_of(request)).get(batch_id)
    # Another's batch is answered as one that is not there.
    if record is None or not caller_of(request).sees(record.owner):
        raise NotFoundError(f"no batch {batch_id[:64]!r}; GET /v1/batches lists them")
    return record
