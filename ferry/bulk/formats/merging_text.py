"""The merge of JSON lines and delimited text: rows are bytes, and stay as they were written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ferry.bulk.formats.base import MIB
from ferry.bulk.formats.merging import Merge, Windows
from ferry.bulk.formats.text_rows import TEXT_KINDS, RowCursor, RowEnds, TextKind
from ferry.errors import InvalidInputError
from ferry.tensors import Array


@dataclass(frozen=True, slots=True)
class _Lines:
    """Whole rows. Shape: ends int64 (rows), the offset right after each."""

    data: bytes
    ends: Array


class _Text(Windows[_Lines]):
    def __init__(self, kind: TextKind, header: bytes) -> None:
        self._kind = kind
        self._header = header

    def windows(self, file: BinaryIO) -> Iterator[_Lines]:
        header = read_header(file, self._kind)
        rest, ends = b"", RowEnds(self._kind)
        has_rows = False
        while piece := file.read(MIB):
            if not has_rows and header != self._header:
                raise InvalidInputError("rows that were run again have other columns than the earlier output")
            has_rows = True
            found = ends.of(piece) + len(rest)
            data = rest + piece
            end = int(found[-1]) if len(found) else 0
            rest = data[end:]
            if end:
                yield _Lines(data[:end], found)
        if rest:
            raise InvalidInputError("the last row of the earlier output is cut off")

    def count(self, rows: _Lines) -> int:
        return len(rows.ends)

    def part(self, rows: _Lines, start: int, end: int) -> _Lines:
        first = int(rows.ends[start - 1]) if start else 0
        last = int(rows.ends[end - 1]) if end else 0
        return _Lines(rows.data[first:last], rows.ends[start:end] - first)

    def taken(self, pieces: Sequence[_Lines], order: Array) -> _Lines:
        rows = [row for piece in pieces for row in _rows(piece)]
        chosen = [rows[place] for place in order.tolist()]
        return _Lines(b"".join(chosen), np.cumsum([len(row) for row in chosen], dtype=np.int64))


def merge_text(format_name: str, merge: Merge, out: BinaryIO) -> None:
    """Write the merged file, with the earlier output's header."""
    kind = TEXT_KINDS[format_name]
    with merge.old() as file:
        header = read_header(file, kind)
    out.write(header)
    for rows in _Text(kind, header).merged(merge):
        out.write(rows.data)


def read_header(file: BinaryIO, kind: TextKind) -> bytes:
    """Return the header of a file, and leave the file at its first row."""
    file.seek(0)
    if not kind.has_header:
        return b""
    cursor, start = RowCursor(kind, 1), b""
    while cursor.left and (piece := file.read(MIB)):
        start += piece
        cursor.feed(piece)
    if cursor.left:
        raise InvalidInputError("a part of the output has no header")
    file.seek(cursor.offset)
    return start[: cursor.offset]


def _rows(lines: _Lines) -> Iterator[bytes]:
    start = 0
    for end in lines.ends.tolist():
        yield lines.data[start:end]
        start = end
