"""Rows of text outputs: which formats are text, and where each row ends in their bytes. Knows bytes alone.

A row ends at a line break; of delimited text at one where no quote is open. The parts of these formats concatenate: a
later part of delimited text leaves its header out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_BREAK, _QUOTE = 10, 34


@dataclass(frozen=True, slots=True)
class TextKind:
    """How a text format writes rows. has_header: the first row names the columns. is_quoted: a quote hides breaks."""

    media_type: str
    has_header: bool
    is_quoted: bool


TEXT_KINDS = {
    "jsonl": TextKind("application/jsonl", has_header=False, is_quoted=False),
    "csv": TextKind("text/csv", has_header=True, is_quoted=True),
    "tsv": TextKind("text/tab-separated-values", has_header=True, is_quoted=True),
}


class RowEnds:
    """Finds the ends of rows in bytes that come in pieces."""

    def __init__(self, kind: TextKind) -> None:
        self._is_quoted = kind.is_quoted
        self._is_open = False

    def of(self, piece: bytes) -> npt.NDArray[Any]:
        """Return the offsets right after each row that ends in the next piece. Shape: int64 (rows)."""
        data = np.frombuffer(piece, np.uint8)
        breaks = np.flatnonzero(data == _BREAK)
        if self._is_quoted:
            quotes = np.flatnonzero(data == _QUOTE)
            n_before = np.searchsorted(quotes, breaks) + self._is_open
            breaks = breaks[n_before % 2 == 0]
            self._is_open = bool((len(quotes) + self._is_open) % 2)
        return breaks + 1


class RowSplitter:
    """Parts bytes that come in pieces into whole rows, their line breaks included."""

    def __init__(self, kind: TextKind) -> None:
        self._ends = RowEnds(kind)
        self._rest: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the rows that are whole with this piece."""
        start = 0
        for end in self._ends.of(piece).tolist():
            row = piece[start:end]
            if self._rest:
                row = b"".join((*self._rest, row))
                self._rest.clear()
            yield row
            start = end
        if start < len(piece):
            self._rest.append(piece[start:])


class RowCursor:
    """Finds the offset at which a number of rows ends, in bytes that come in pieces from offset 0."""

    def __init__(self, kind: TextKind, n_rows: int) -> None:
        self._ends = RowEnds(kind)
        self.left = n_rows
        self.offset = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece; once `left` is 0 no more is needed, and `offset` is right after the last row."""
        if not self.left:
            return
        ends = self._ends.of(piece)
        if len(ends) < self.left:
            self.left -= len(ends)
            self.offset += len(piece)
            return
        self.offset += int(ends[self.left - 1])
        self.left = 0


def kind_of_media(content_type: str) -> TextKind | None:
    """Return the kind that a Content-Type names, if it is one."""
    name: Any = content_type.partition(";")[0].strip()
    return next((kind for kind in TEXT_KINDS.values() if kind.media_type == name), None)
