"""`/v1/files`: store a file of rows, list, read and delete files (OpenAI's shapes)."""

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from api.context import caller_of, context_of
from api.downloads import FileStream, UnsatisfiableRangeError, disposition_of, media_type_of, open_at, range_of
from api.headers import headers_of
from api.openapi import files as openapi
from api.problems import problem, render
from api.services import FileBook, services_of
from api.terms import key_from_header
from api.uploads import receive_file, shown
from api.wire import JSONAnswer
from ferry.bulk.files import FileRecord, key_of
from ferry.errors import NotFoundError, UnauthenticatedError

router = APIRouter(prefix="/v1/files", tags=["files"])

MOST_A_PAGE = 10_000


@router.post("", responses=openapi.FILE_CREATED, openapi_extra=openapi.FILE_FORM, response_class=JSONAnswer)
async def create_file(request: Request) -> JSONAnswer:
    """Store a file; it is kept for as long as it says, or for FERRY_FILE_TTL_S.

    The bytes go to the storage as they come, so a file may be as large as FERRY_MAX_FILE_BYTES. With an
    `Idempotency-Key` the same file sent again is the file that is there.
    """
    settings, headers = services_of(request).settings, headers_of(request)
    key = key_from_header(headers.get("idempotency-key"))
    context = context_of(request)
    caller = context.caller
    digest = hashlib.sha256(caller.keyed(request.url.path, key).encode()).hexdigest() if key else ""
    record, is_replay = await receive_file(
        request, headers, _files(request), max_bytes=settings.max_file_bytes, key=digest, owner=caller.owner
    )
    try:
        await services_of(request).door.gate.confirm(caller)
    except UnauthenticatedError:
        # Its owner may have been erased meanwhile. A file that was there before may be in use.
        if not is_replay:
            await _files(request).delete(record.id)
        raise
    context.work_id = record.id
    answer = JSONAnswer(shown(record))
    if is_replay:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


@router.get("", responses=openapi.FILES, response_class=JSONAnswer)
async def list_files(
    request: Request,
    after: Annotated[str | None, Query(description="the last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE)] = MOST_A_PAGE,
    order: Annotated[Literal["asc", "desc"], Query(description="by when they were made")] = "desc",
    purpose: Annotated[str | None, Query(description="batch or batch_output")] = None,
) -> JSONAnswer:
    """List files, the newest first."""
    records, has_more = await _files(request).list_page(
        after=after, limit=limit, is_ascending=order == "asc", purpose=purpose, owner=caller_of(request).lists
    )
    data = [shown(record) for record in records]
    ends = {"first_id": records[0].id, "last_id": records[-1].id} if records else {"first_id": None, "last_id": None}
    return JSONAnswer({"object": "list", "data": data, **ends, "has_more": has_more})


@router.get("/{file_id}", responses=openapi.FILE, response_class=JSONAnswer)
async def get_file(request: Request, file_id: str) -> JSONAnswer:
    """Show one file."""
    return JSONAnswer(shown(await _found(request, file_id)))


@router.get(
    "/{file_id}/content", responses=openapi.FILE_CONTENT, openapi_extra=openapi.RANGE, response_class=Response
)  # fmt: skip
async def get_content(request: Request, file_id: str) -> Response:
    """Read a file, or with `Range: bytes=...` a part of it."""
    record = await _found(request, file_id)
    headers = headers_of(request)
    etag = f'"{record.id}"'  # a file never changes
    asked = headers.get("range") if headers.get("if-range", etag) == etag else None
    try:
        part = range_of(asked, record.size_bytes)
    except UnsatisfiableRangeError:
        return _unsatisfiable(request, record)
    start, end = part or (0, record.size_bytes)
    file, first = await open_at(_files(request).storage, key_of(record.id), start, end - start)
    sent = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Content-Disposition": disposition_of(record.filename, record.id),
    }
    if part:
        sent["Content-Range"] = f"bytes {start}-{end - 1}/{record.size_bytes}"
    return FileStream(
        file, first, end - start, status_code=206 if part else 200, headers=sent,
        media_type=media_type_of(record.filename),
    )  # fmt: skip


@router.delete("/{file_id}", responses=openapi.FILE_DELETED, response_class=JSONAnswer)
async def delete_file(request: Request, file_id: str) -> JSONAnswer:
    """Delete a file and its bytes."""
    if caller_of(request).key is not None:
        await _found(request, file_id)
    if not await _files(request).delete(file_id):
        raise _unknown(file_id)
    return JSONAnswer({"id": file_id, "object": "file", "deleted": True})


def _files(request: Request) -> FileBook:
    files = services_of(request).files
    if files is None:
        raise TypeError("the application was started without files")
    return files


async def _found(request: Request, file_id: str) -> FileRecord:
    record = await _files(request).get(file_id)
    # Another's file is answered as one that is not there.
    if record is None or not caller_of(request).sees(record.owner):
        raise _unknown(file_id)
    return record


def _unknown(file_id: str) -> NotFoundError:
    return NotFoundError(f"no file {file_id[:64]!r}; GET /v1/files lists them, and each says when it expires")


def _unsatisfiable(request: Request, record: FileRecord) -> Response:
    detail = f"the range lies behind the file's end, which has {record.size_bytes} bytes"
    body = problem(request, 416, code="range_not_satisfiable", title="Range not satisfiable", detail=detail)
    return render(body, {"Content-Range": f"bytes */{record.size_bytes}"})
