"""Rows of a Parquet file, decoded in order; remembers where it stood, so that the next chunk need not begin anew.

Knows nothing of models. A chunk's rows are decoded in pieces: those fit memory that is warm already, where a whole
chunk at once has the system clear tens of megabytes, again and again. What it keeps between two chunks: the footer, the
decoders and at most a piece.
"""

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_columns import PIECE_ROWS
from ferry.bulk.formats.base import Chunk, size_of
from ferry.errors import InvalidInputError

# Of a column so much is read at a time. Without it pyarrow holds all of a row group's, however large that is.
_COLUMN_BUFFER_BYTES = 64 * 1024
# So many pieces a chunk is decoded in, at most.
MAX_PIECES = 16
# The length of the footer and the magic bytes end a file.
_TAIL_BYTES = 8


class ParquetRows:
    """One file's rows. Every chunk may bring the file opened anew."""

    def __init__(self, file: BinaryIO, int96_unit: str | None = None) -> None:
        """Read the footer; `int96_unit`: of INT96 timestamps, "ns" or "us".

        Raises:
            pyarrow.ArrowException: the file is damaged.
        """
        self._relay = _Relay(file)
        self._footer = _footer(file)
        self.int96_unit = int96_unit
        self._source = pq.ParquetFile(
            self._relay, pre_buffer=False, buffer_size=_COLUMN_BUFFER_BYTES, coerce_int96_timestamp_unit=int96_unit
        )
        self.schema = self._source.schema_arrow
        self._names: Sequence[str] = ()
        self._batches: Iterator[Any] = iter(())
        self._next_row = -1
        self._rest: Any = None

    def is_of(self, file: BinaryIO) -> bool:
        """Say whether `file` is the file that this one began with, by its size and footer; if so, go on with it."""
        if _footer(file) != self._footer:
            return False
        self._relay.file = file
        return True

    def take(self, chunk: Chunk, names: Sequence[str]) -> Any:
        """Return a chunk's rows of some columns.

        Raises:
            InvalidInputError: rows are missing.
            pyarrow.ArrowException: the file is damaged.
        """
        group_first = chunk.first - chunk.where["row"]
        if names != self._names or not group_first <= self._next_row <= chunk.first:
            groups = range(chunk.where["group"], self._source.num_row_groups)
            if not groups:
                raise InvalidInputError(f"there is no row group {groups.start} any more; was the file replaced?")
            self._batches = self._source.iter_batches(
                # A chunk of wide rows has few of them, and never is more than a chunk decoded at once.
                batch_size=min(chunk.rows, PIECE_ROWS * math.ceil(chunk.rows / PIECE_ROWS / MAX_PIECES)),
                row_groups=groups,
                columns=names,
                use_threads=False,
            )
            self._names, self._next_row, self._rest = names, group_first, None
        skip, left, parts = chunk.first - self._next_row, chunk.rows, []
        while left:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                raise InvalidInputError(f"{left} rows are missing of what was indexed; was the file replaced?")
            taken = batch.slice(skip, left)
            used = min(batch.num_rows, skip + taken.num_rows)
            self._rest = batch.slice(used) if used < batch.num_rows else None
            self._next_row += used
            skip -= used - taken.num_rows
            left -= taken.num_rows
            if taken.num_rows:
                parts.append(taken)
        return pa.Table.from_batches(parts)


class _Relay(io.RawIOBase):
    """A file for pyarrow that may be exchanged for another one with the same bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def first_line(error: Exception) -> str:
    """Return what pyarrow says, without what it adds below."""
    return str(error).split("\n", 1)[0][:200]


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Return a file's size and its footer, raw."""
    size = size_of(file)
    file.seek(max(0, size - _TAIL_BYTES))
    length = int.from_bytes(file.read(_TAIL_BYTES)[:4], "little")
    file.seek(max(0, size - _TAIL_BYTES - length))
    return size, file.read()
