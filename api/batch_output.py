"""The output of a batch while it runs: finished parts in the order of the input, then the rest of the final file.

The parts of text formats concatenate to the final file, byte for byte. A reader keeps its place in rows and bytes, so
it goes on in the final file when the parts are gone. Knows the batches and the storage; sends nothing.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import anyio
from anyio.to_thread import run_sync

from ferry.bulk.batch_records import BatchRecord, BatchStatus, Part, part_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.text_rows import TEXT_KINDS, RowCursor, TextKind
from ferry.bulk.storage import Storage, storage_errors
from ferry.errors import ConflictError, InvalidInputError, NotFoundError, QueueUnavailableError

PIECE_BYTES = 2**20
# The batch is looked at this often while nothing new is there.
POLL_S = 0.2
# Redis may be away for this long before a reader gives up.
PATIENCE_S = 30.0
# A reader ends after this and its client comes back, with its key looked at again.
FOLLOW_S = 600.0
# Chunks that one look asks for.
PARTS_PER_LOOK = 64

Pieces = AsyncGenerator[bytes]


class FollowEndedError(Exception):
    """A reader ends before the output does; its client asks again from the row that it has not got."""


class BatchParts(Protocol):
    """What a reader needs of the batches (ferry.bulk.batches.Batches)."""

    async def progress(self, batch_id: str, first: int, n_chunks: int) -> tuple[BatchRecord | None, list[Part | None]]:
        """Return a batch and what its chunks from `first` on left."""


@dataclass(slots=True)
class _Position:
    """Where a reader stands.

    row: rows of the output before the place that it counts from. offset: that place in the final file, in bytes; None
    where only the final file can tell. skip: rows after it that are still to be passed over. sent: bytes after it that
    are sent. number: the chunk that it is in. start: where in that chunk's part the place lies; None before the part
    was opened. left: rows of the part after the place.
    """

    row: int
    offset: int | None
    skip: int
    sent: int = 0
    number: int = 0
    start: int | None = None
    left: int = 0


class OutputReader:
    """Reads the output of one batch from a row on, and follows the batch to its end."""

    def __init__(
        self,
        batches: BatchParts,
        storage: Storage,
        record: BatchRecord,
        kind: TextKind,
        from_row: int,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._batches = batches
        self._storage = storage
        self._batch_id = record.id
        self._n_header_rows = int(kind.has_header)
        self._kind = kind
        self._at = _Position(0, None if from_row and kind.has_header else 0, from_row)
        # The header comes with the first row: a batch of which every row failed has no output.
        self._needs_header = kind.has_header and not from_row
        self._header = b""
        self._has_sent = False
        self._is_stopping = is_stopping
        self._clock = clock
        self._sleep = sleep
        self._gives_up = clock() + FOLLOW_S

    async def pieces(self) -> Pieces:
        """Yield the bytes from the row on, in the order of the input; ends with the batch.

        Raises:
            FollowEndedError: the process stops, the time is up, or there is no final file; what was yielded stands.
            FerryError: the storage or Redis is away.
        """
        while True:
            record, parts = await self._look()
            is_further = False
            try:
                async with aclosing(
                    self._rest(record) if record.status.is_terminal else self._finished(parts)
                ) as found:
                    async for piece in found:
                        is_further = self._has_sent = True
                        yield piece
                        self._check()
            except NotFoundError as error:
                if record.status.is_terminal:
                    detail = f"the output file of {self._batch_id} was deleted, or its time is over"
                    raise FollowEndedError(detail) from error
                # The batch ended meanwhile, or a crash took the part: the final file has these rows.
            if record.status.is_terminal:
                return
            if not is_further:
                await self._sleep(POLL_S)

    async def _look(self) -> tuple[BatchRecord, list[Part | None]]:
        """Return the batch and its next parts, also where Redis is away for a moment."""
        until = self._clock() + PATIENCE_S
        while True:
            self._check()
            try:
                record, parts = await self._batches.progress(self._batch_id, self._at.number, PARTS_PER_LOOK)
            except QueueUnavailableError:
                if self._clock() >= until:
                    raise
                await self._sleep(POLL_S)
                continue
            if record is None:
                raise FollowEndedError(f"batch {self._batch_id} is not known any more")
            # The parts of a retry hold only the rows that are run again; the final file holds all.
            return record, [] if record.retry_of else parts

    def _check(self) -> None:
        if self._is_stopping():
            raise FollowEndedError("this API process stops")
        if self._clock() >= self._gives_up:
            raise FollowEndedError(f"a stream lasts {FOLLOW_S:g} s at most")

    async def _finished(self, parts: Sequence[Part | None]) -> Pieces:
        """Yield the parts up to the first one that is not there yet."""
        for part in parts:
            if part is None or not part.token:
                return
            if self._at.skip and self._at.skip >= part.output_rows:
                self._pass_over(part)
                continue
            async with aclosing(self._part(part)) as found:
                async for piece in found:
                    yield piece

    def _pass_over(self, part: Part) -> None:
        at = self._at
        at.row += part.output_rows
        at.skip -= part.output_rows
        # What a header takes is only known of parts that were opened.
        at.offset = None if at.offset is None or self._n_header_rows else at.offset + part.output_bytes
        at.number += 1

    async def _part(self, part: Part) -> Pieces:
        """Yield what is not yet sent of a part, and go on to the next chunk."""
        at = self._at
        async with self._opened(part_key(self._batch_id, at.number, part.token, "out")) as file:
            start = await self._enter(file, part) if at.start is None else at.start
            async for piece in _copied(file, start + at.sent, part.output_bytes):
                at.sent += len(piece)
                yield self._with_header(piece)
        at.row += at.left
        at.offset = None if at.offset is None else at.offset + part.output_bytes - start
        at.number, at.start, at.sent = at.number + 1, None, 0

    async def _enter(self, file: BinaryIO, part: Part) -> int:
        """Find the place in a part that is opened for the first time; returns its offset there."""
        at = self._at
        header_bytes = await self._end_of_rows(file, self._n_header_rows)
        start = await self._end_of_rows(file, self._n_header_rows + at.skip)
        if header_bytes is None or start is None:
            raise NotFoundError("the part is shorter than it was written")
        if self._needs_header:  # the file's header is that of its first part with rows
            self._header = await run_sync(_read_at, file, 0, header_bytes)
        if self._needs_header or at.number == 0:
            at.offset = start
        elif at.offset is not None:
            at.offset += start - header_bytes
        at.row, at.left, at.skip, at.start = at.row + at.skip, part.output_rows - at.skip, 0, start
        return start

    def _with_header(self, piece: bytes) -> bytes:
        if not self._needs_header:
            return piece
        self._needs_header = False
        return self._header + piece

    async def _rest(self, record: BatchRecord) -> Pieces:
        """Yield what is not yet sent of the final file.

        Raises:
            NotFoundError: it is gone.
            FollowEndedError: there is none, although rows were sent.
        """
        if record.output_file_id is None:
            if self._has_sent:
                raise FollowEndedError(f"{self._batch_id} {record.status.value}: its output could not be made")
            return
        at = self._at
        async with self._opened(key_of(record.output_file_id)) as file:
            if self._needs_header:
                at.offset = 0
            elif at.offset is None or at.skip:
                at.offset = await self._end_of_rows(file, self._n_header_rows + at.row + at.skip)
                at.skip = 0
            if at.offset is None:  # it has fewer rows
                return
            async for piece in _copied(file, at.offset + at.sent, None):
                yield piece

    async def _end_of_rows(self, file: BinaryIO, n_rows: int) -> int | None:
        """Return the offset at which so many rows end, None where there are fewer."""
        cursor = RowCursor(self._kind, n_rows)
        while cursor.left:
            piece = await run_sync(_read_at, file, cursor.offset, PIECE_BYTES)
            if not piece:
                return None
            cursor.feed(piece)
        return cursor.offset

    @asynccontextmanager
    async def _opened(self, key: str) -> AsyncGenerator[BinaryIO]:
        file = await run_sync(self._storage.open, key)
        try:
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(file.close)


def kind_of(record: BatchRecord) -> TextKind | None:
    """Return how a batch's output is written; None where that is not known yet.

    Raises:
        InvalidInputError: as a file that cannot be read before its end.
        ConflictError: it failed without an output.
    """
    if record.status is BatchStatus.FAILED and record.output_file_id is None:
        raise ConflictError(f"batch {record.id} failed and has no output; its `errors` say why")
    name = record.output_format or record.metadata.get("output_format")
    if name is None:
        return TEXT_KINDS["jsonl"] if record.status.is_terminal else None
    if name not in TEXT_KINDS:
        raise InvalidInputError(
            f"the output of {record.id} is {name}, a file that cannot be read before its end; read its output_file_id "
            f"when the batch is over, or ask for output_format {', '.join(TEXT_KINDS)}"
        )
    return TEXT_KINDS[name]


async def _copied(file: BinaryIO, start: int, end: int | None) -> Pieces:
    """Yield the bytes [start, end), or all from `start` on.

    Raises:
        NotFoundError: the file ends before `end`.
    """
    while end is None or start < end:
        piece = await run_sync(_read_at, file, start, PIECE_BYTES if end is None else min(PIECE_BYTES, end - start))
        if not piece:
            if end is not None:
                raise NotFoundError("the part is shorter than it was written")
            return
        start += len(piece)
        yield piece


def _read_at(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    with storage_errors():
        file.seek(start)
        return file.read(n_bytes)
