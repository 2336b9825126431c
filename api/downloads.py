"""A stored file on its way out: which bytes of it were asked for, under which name, and the stream of them."""

import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ferry.bulk.storage import Storage, storage_errors
from ferry.errors import StorageError

PIECE_BYTES = 2**20
BINARY = "application/octet-stream"
# By suffix. Nothing here is a type that a browser would run.
MEDIA_TYPES = {
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".json": "application/json",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
}
_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._ -]", re.ASCII)
# More digits than any file's size has.
_MOST_DIGITS = 18


class UnsatisfiableRangeError(ValueError):
    """No byte of the file is in the range."""


def range_of(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return the bytes [start, end) that a Range header asks for; None is all of them.

    A header that is not understood, or asks for several ranges, may be ignored (RFC 9110, section 14.2).

    Raises:
        UnsatisfiableRangeError: no byte of the file is in it.
    """
    match = _RANGE.fullmatch(header or "")
    if not match or match[1] == match[2] == "" or max(map(len, match.groups())) > _MOST_DIGITS:
        return None
    if not match[1]:  # the last bytes
        n_last = int(match[2])
        if n_last == 0:
            raise UnsatisfiableRangeError
        return max(0, size_bytes - n_last), size_bytes
    start, end = int(match[1]), int(match[2]) + 1 if match[2] else size_bytes
    if match[2] and end <= start:
        return None
    if start >= size_bytes:
        raise UnsatisfiableRangeError
    return start, min(end, size_bytes)


def media_type_of(filename: str) -> str:
    """Return the media type that a name's suffix says."""
    return MEDIA_TYPES.get(PurePosixPath(filename).suffix.lower(), BINARY)


def disposition_of(filename: str, otherwise: str) -> str:
    """Return the Content-Disposition for a name that anybody may have chosen (RFC 6266)."""
    last = re.split(r"[/\\]", filename)[-1]
    name = "".join(each for each in last if each.isprintable()).strip(" .") or otherwise
    return f"attachment; filename=\"{_UNSAFE.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe='')}"


class FileStream(StreamingResponse):
    """Streams a part of an open file and closes it, however the response ends."""

    def __init__(
        self, file: BinaryIO, first: bytes, n_bytes: int, *, status_code: int, headers: dict[str, str], media_type: str
    ) -> None:
        self._file = file
        headers = headers | {"Content-Length": str(n_bytes)}
        super().__init__(_pieces(file, first, n_bytes), status_code, headers)
        # Set here, since Starlette would add a charset to text/csv that the file may not have.
        self.raw_headers.append((b"content-type", media_type.encode("latin-1")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self._file.close)


async def open_at(storage: Storage, key: str, start: int, n_bytes: int) -> tuple[BinaryIO, bytes]:
    """Return an open file and the first piece from `start`, so that what is missing is known before the answer begins.

    Raises:
        NotFoundError, StorageError: as named.
    """
    return await run_sync(_open_at, storage, key, start, n_bytes)


def _open_at(storage: Storage, key: str, start: int, n_bytes: int) -> tuple[BinaryIO, bytes]:
    file = storage.open(key)
    try:
        with storage_errors():
            file.seek(start)
            return file, file.read(min(n_bytes, PIECE_BYTES))
    except BaseException:
        file.close()
        raise


async def _pieces(file: BinaryIO, first: bytes, n_bytes: int) -> AsyncIterator[bytes]:
    piece, left = first, n_bytes
    while left > 0:
        if not piece:
            raise StorageError(f"a file ends {left} bytes before it should")
        yield piece
        left -= len(piece)
        piece = await run_sync(file.read, min(left, PIECE_BYTES)) if left else b""
