"""Files on their way: a form read from disk while it is sent, and a file written to disk while it comes.

Neither is ever held in memory. Sends nothing itself.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

import httpx

from ferry.client_answers import ApiError
from ferry.client_bulk_answers import File
from ferry.errors import InvalidInputError

# Told the bytes that are over, and how many there are in all.
ByteProgress = Callable[[int, int], None]

# Each piece of an asyncio upload is read in a thread, which takes some 50 us.
PIECE_BYTES = 256 * 1024
_ESCAPES = {ord('"'): "%22", ord("\\"): "\\\\", ord("\r"): "%0D", ord("\n"): "%0A"}


@contextmanager
def _file_errors(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"cannot {action} {path}: {error.strerror or error}") from None


class UploadForm(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A multipart form (RFC 7578) with a file as its last field; can be read several times.

    Raises:
        InvalidInputError: the file cannot be read, when it is made or while it is read.
    """

    def __init__(self, path: Path, fields: Mapping[str, str], on_progress: ByteProgress | None = None) -> None:
        self._path = path
        self._on_progress = on_progress
        boundary = secrets.token_hex(16)
        with _file_errors("read", path):
            self.size_bytes = path.stat().st_size
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        filename = path.name.translate(_ESCAPES)
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        # A name that is not UTF-8 on disk is sent with replacements.
        self._head = "".join(parts).encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode("ascii")
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + self.size_bytes + len(self._tail)),
        }

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        yield self._head
        for piece in self._pieces():
            yield piece
            sent += len(piece)
            self._tell(sent)
        yield self._tail

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sent = 0
        yield self._head
        pieces = self._pieces()
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece
            sent += len(piece)
            self._tell(sent)
        yield self._tail

    def _pieces(self) -> Iterator[bytes]:
        left = self.size_bytes
        with _file_errors("read", self._path), self._path.open("rb") as file:
            while left and (piece := file.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                yield piece
        if left:
            raise InvalidInputError(f"{self._path} became {left} bytes shorter while it was sent")

    def _tell(self, sent: int) -> None:
        if self._on_progress:
            self._on_progress(sent, self.size_bytes)


class PartFile:
    """A file on its way to `path`: beside it until it is whole, under a name that says which file it is.

    A part that an earlier download left is gone on with, since a stored file never changes. Use it in a `with`
    statement; what has come stays when it is left early.

    Raises:
        InvalidInputError: the file cannot be written.
    """

    def __init__(self, path: Path, file: File, on_progress: ByteProgress | None = None) -> None:
        self.offset = 0  # bytes that have come
        self._path = path
        self._file = file
        self._on_progress = on_progress
        self._part = path.with_name(f"{path.name}.{quote(file.id, safe='')}.part")
        self._hash = hashlib.sha256()
        with _file_errors("write", path):
            self._out: BinaryIO = self._part.open("a+b")
            self._look_at_what_is_there()

    def _look_at_what_is_there(self) -> None:
        self._out.seek(0)
        while piece := self._out.read(PIECE_BYTES):
            self._hash.update(piece)
            self.offset += len(piece)
        if self.offset > self._file.size_bytes:
            self._begin_again()

    def _begin_again(self) -> None:
        self._out.truncate(0)
        self.offset = 0
        self._hash = hashlib.sha256()

    @property
    def is_whole(self) -> bool:
        """Whether every byte has come."""
        return self.offset >= self._file.size_bytes

    def begin(self, response: httpx.Response) -> bool:
        """Say whether the body of a response belongs here; one that begins at the beginning makes this do so too."""
        if response.status_code == httpx.codes.OK:
            self._begin_again()
            return True
        said = response.headers.get("Content-Range", "")
        return response.status_code == httpx.codes.PARTIAL_CONTENT and said.startswith(f"bytes {self.offset}-")

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        with _file_errors("write", self._part):
            self._out.write(piece)
        self._hash.update(piece)
        self.offset += len(piece)
        if self._on_progress:
            self._on_progress(min(self.offset, self._file.size_bytes), self._file.size_bytes)

    def finish(self) -> None:
        """Put the file in its place; one that is there already is replaced.

        Raises:
            ApiError: what came is not what the server stored.
        """
        with _file_errors("write", self._path):
            self._out.close()
            if self.offset != self._file.size_bytes or self._hash.hexdigest() != (
                self._file.sha256 or self._hash.hexdigest()
            ):
                self._part.unlink()
                raise ApiError(200, f"file {self._file.id} came damaged (its checksum differs); download it again")
            self._part.replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _file_errors("write", self._part):
            self._out.close()
