"""An upload: from a request's stream into the storage, a piece at a time. Whatever ends it early leaves nothing."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi import Request

from api.multipart import Event, FormReader, PartBegin, PartData
from api.problems import BodyTooLargeError, UnsupportedMediaTypeError
from api.services import FileBook
from ferry.bulk.files import PURPOSE_BATCH, FileRecord, key_of
from ferry.bulk.storage import Upload
from ferry.errors import FerryError, InvalidInputError, MalformedRequestError, ReusedError

FILE_FIELD = "file"
PURPOSE = "purpose"
ANCHOR = "expires_after[anchor]"
SECONDS = "expires_after[seconds]"
LEAST_TTL_S, MOST_TTL_S = 3600, 2_592_000
MOST_NAME = 255
# What a form may hold beside the file: a handful of short fields and their heads.
MOST_FORM_BYTES = 64 * 2**10
# Each hop to a thread takes some 50 us, so bytes go there a MiB at a time.
PIECE_BYTES = 2**20
_FIELDS = (PURPOSE, ANCHOR, SECONDS)

logger = logging.getLogger(__name__)


async def receive_file(
    request: Request, headers: Mapping[str, str], files: FileBook, *, max_bytes: int, key: str = "", owner: str = ""
) -> tuple[FileRecord, bool]:
    """Store the file of a form; returns its record, and whether it was made before, under the same `key`.

    Raises:
        ReusedError: another file was made under this key.
        UnsupportedMediaTypeError, MalformedRequestError, BodyTooLargeError: as named.
        InvalidInputError: a field is missing or has a value it may not have.
        StorageError, QueueUnavailableError: as named.
        ClientDisconnect: the client went away before it had sent everything.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"content encoding {encoding[:40]!r} is not read here; send the file as it is")
    reader = FormReader(headers.get("content-type", ""))
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes + MOST_FORM_BYTES:
        raise _too_large(max_bytes)
    receiver = _Receiver(files, max_bytes)
    try:
        async for data in request.stream():
            await receiver.take(len(data), reader.feed(data))
        return await receiver.finish(is_whole=reader.is_whole, key=key, owner=owner)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await receiver.abandon()
        raise


class _Receiver:
    """What has come of one form."""

    def __init__(self, files: FileBook, max_bytes: int) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._fields: dict[str, bytearray] = {}
        self._part = ""
        self._file_id = ""
        self._filename = ""
        self._upload: Upload | None = None
        self._piece = bytearray()
        self._hash = hashlib.sha256()
        self._body_bytes = 0
        self._size_bytes = 0

    async def take(self, n_bytes: int, events: list[Event]) -> None:
        """Take what the next bytes of the body brought."""
        for event in events:
            if isinstance(event, PartBegin):
                await self._begin(event)
            elif isinstance(event, PartData):
                await self._data(event.data)
        self._body_bytes += n_bytes
        if self._body_bytes - self._size_bytes > MOST_FORM_BYTES:
            raise BodyTooLargeError(f"the form has more than {MOST_FORM_BYTES} bytes beside the file")

    async def _begin(self, part: PartBegin) -> None:
        self._part = part.name
        if part.name in _FIELDS:
            self._fields[part.name] = bytearray()
        if part.name != FILE_FIELD:
            return
        if self._upload:
            raise InvalidInputError.at(FILE_FIELD, "the form has several files; send one at a time")
        self._filename = part.filename or FILE_FIELD
        if len(self._filename) > MOST_NAME:
            raise InvalidInputError.at(FILE_FIELD, f"the file's name is longer than {MOST_NAME} characters")
        self._check_fields(is_whole=False)
        self._file_id = await self._files.reserve()
        self._upload = await run_sync(self._files.storage.create, key_of(self._file_id))

    async def _data(self, data: bytes) -> None:
        if self._part in self._fields:
            self._fields[self._part] += data
        elif self._part == FILE_FIELD:
            self._size_bytes += len(data)
            if self._size_bytes > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._piece += data
            if len(self._piece) >= PIECE_BYTES:
                await self._flush()

    async def _flush(self) -> None:
        piece, self._piece = self._piece, bytearray()
        await run_sync(self._store, piece)

    def _store(self, piece: bytearray) -> None:
        if self._upload is None:
            raise TypeError("bytes of a file that did not begin")
        self._hash.update(piece)
        self._upload.write(piece)

    async def finish(self, *, is_whole: bool, key: str, owner: str) -> tuple[FileRecord, bool]:
        """Make the file known, if the form ended as it should; one made under the same key stands for it."""
        if not is_whole:
            raise MalformedRequestError("the form ends before its last boundary")
        ttl_s = self._check_fields(is_whole=True)
        if self._upload is None:
            raise InvalidInputError.at(FILE_FIELD, "the form has no field 'file' with the file to store")
        if not self._size_bytes:
            raise InvalidInputError.at(FILE_FIELD, "the file is empty")
        await self._flush()
        await run_sync(self._upload.commit)
        record = await self._files.create(
            self._file_id, size_bytes=self._size_bytes, filename=self._filename, purpose=PURPOSE_BATCH, ttl_s=ttl_s,
            sha256=self._hash.hexdigest(), key=key, owner=owner,
        )  # fmt: skip
        if record.id == self._file_id:
            return record, False
        if (record.sha256, record.filename) != (self._hash.hexdigest(), self._filename):
            raise ReusedError("another file was stored under this Idempotency-Key; choose another key")
        await self.abandon()
        return record, True

    async def abandon(self) -> None:
        """Leave nothing behind. Never raises; what cannot be deleted now a sweep deletes."""
        if self._upload:
            await run_sync(self._upload.abort)
        if self._file_id:
            try:
                await self._files.release(self._file_id)
            except FerryError as error:
                logger.warning("what is left of the upload %s is deleted later: %s", self._file_id, error.detail)

    def _check_fields(self, *, is_whole: bool) -> float | None:
        """Check the fields that have come, or all of a whole form; returns how long to keep the file, if said."""
        fields = {name: value.decode("utf-8", "replace").strip() for name, value in self._fields.items()}
        if (is_whole or PURPOSE in fields) and fields.get(PURPOSE) != PURPOSE_BATCH:
            said = f"got {fields[PURPOSE][:40]!r}" if PURPOSE in fields else "the field is missing"
            raise InvalidInputError.at(PURPOSE, f"the purpose must be {PURPOSE_BATCH!r}; {said}")
        if fields.get(ANCHOR, "created_at") != "created_at":
            raise InvalidInputError.at(ANCHOR, f"the anchor must be 'created_at', got {fields[ANCHOR][:40]!r}")
        if is_whole and ANCHOR in fields and SECONDS not in fields:
            raise InvalidInputError.at(SECONDS, f"{ANCHOR} needs {SECONDS} beside it")
        return _ttl_s(fields[SECONDS]) if SECONDS in fields else None


def _ttl_s(text: str) -> float:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_TTL_S))
    if not is_number or not LEAST_TTL_S <= int(text) <= MOST_TTL_S:
        detail = f"expected {LEAST_TTL_S} to {MOST_TTL_S} seconds, got {text[:40]!r}"
        raise InvalidInputError.at(SECONDS, detail)
    return int(text)


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the file is too large; the limit is {max_bytes} bytes (FERRY_MAX_FILE_BYTES)")


def shown(record: FileRecord) -> dict[str, Any]:
    """Return a file in OpenAI's shape, with its checksum beside."""
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.size_bytes,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "filename": record.filename,
        "purpose": record.purpose,
        "status": record.status,
        "sha256": record.sha256 or None,
    }
