"""Rows that were run again put in their places among those of an earlier output, file by file, in bounded memory.

The earlier output goes through in windows of rows. A new row either takes the place of an earlier row (formats in
which a row that failed keeps its place), or is inserted before one. Knows the formats' bytes, nothing of batches.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Generic, TypeVar

import numpy as np

from ferry.bulk.formats.base import Opener
from ferry.errors import InvalidInputError
from ferry.tensors import Array

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class NewRows:
    """A part of new rows. at: by row, the earlier row that it is put before, or whose place it takes; -1 leaves it out.

    Shape: `at` gives int64 (rows), ascending over the parts.
    """

    part: Opener
    at: Callable[[], Array]


@dataclass(frozen=True, slots=True)
class Merge:
    """What is merged. replaces: new rows take places, else they are inserted. n_old: rows of the earlier output."""

    old: Opener
    new: Sequence[NewRows]
    replaces: bool
    n_old: int


class Windows(ABC, Generic[W]):
    """How one format's rows are read, put together and taken."""

    @abstractmethod
    def windows(self, file: BinaryIO) -> Iterator[W]:
        """Yield the rows of a file or a part, some at a time."""

    @abstractmethod
    def count(self, rows: W) -> int:
        """Return how many rows there are."""

    @abstractmethod
    def part(self, rows: W, start: int, end: int) -> W:
        """Return the rows [start, end)."""

    @abstractmethod
    def taken(self, pieces: Sequence[W], order: Array) -> W:
        """Return rows of all pieces, one after the other, in an order. Shape: int64 (rows)."""

    def merged(self, merge: Merge) -> Iterator[W]:
        """Yield all rows in their places.

        Raises:
            InvalidInputError: the earlier output has another number of rows than the file it came from.
        """
        new, first = _NewSource(self, merge.new), 0
        with merge.old() as file:
            for window in self.windows(file):
                count = self.count(window)
                yield self._put_together(window, first, new.before(first + count), replaces=merge.replaces)
                first += count
        if first != merge.n_old:
            raise InvalidInputError(
                f"the earlier output has {first} rows where {merge.n_old} belong; lines that hold several rows can be "
                "run again with jsonl as the output only"
            )
        for rows, _ in new.before(None):
            yield rows

    def _put_together(self, window: W, first: int, new: Sequence[tuple[W, Array]], *, replaces: bool) -> W:
        if not new:
            return window
        n_old, at = self.count(window), np.concatenate([at for _, at in new]) - first
        kept = np.arange(n_old)
        if replaces:
            kept = np.delete(kept, at)
        # A new row comes before the earlier row that it names.
        keys = np.concatenate([2 * kept + 1, 2 * at])
        places = np.concatenate([kept, n_old + np.arange(len(at))])
        return self.taken([window, *(rows for rows, _ in new)], places[np.argsort(keys, kind="stable")])


class _NewSource(Generic[W]):
    """The new rows of all parts, in order, as they are asked for."""

    def __init__(self, how: Windows[W], parts: Iterable[NewRows]) -> None:
        self._how = how
        self._pieces = self._read(parts)
        self._next: tuple[W, Array] | None = None

    def before(self, end: int | None) -> list[tuple[W, Array]]:
        """Return the next rows that belong before the earlier row `end`; None: all that are left."""
        found = []
        while (piece := self._next or next(self._pieces, None)) is not None:
            self._next = None
            rows, at = piece
            n_rows = len(at) if end is None else int(np.searchsorted(at, end))
            if n_rows:
                found.append((self._how.part(rows, 0, n_rows), at[:n_rows]))
            if n_rows < len(at):
                self._next = self._how.part(rows, n_rows, len(at)), at[n_rows:]
                break
        return found

    def _read(self, parts: Iterable[NewRows]) -> Iterator[tuple[W, Array]]:
        for new in parts:
            at, first = new.at(), 0
            if not len(at) or at[0] < 0:
                continue
            with new.part() as file:
                for window in self._how.windows(file):
                    count = self._how.count(window)
                    yield window, at[first : first + count]
                    first += count
            if first != len(at):
                raise InvalidInputError(f"a part of the output has {first} rows, {len(at)} places are known")


def merge_into(format_name: str, merge: Merge, out: BinaryIO) -> None:
    """Write the merged file of a format.

    Raises:
        InvalidInputError: the rows do not fit together.
    """
    if format_name in ("jsonl", "csv", "tsv"):
        from ferry.bulk.formats.merging_text import merge_text as write  # noqa: PLC0415 - each format needs its own
    elif format_name in ("parquet", "arrow"):
        from ferry.bulk.formats.merging_tables import merge_tables as write  # noqa: PLC0415
    else:
        from ferry.bulk.formats.merging_arrays import merge_arrays as write  # noqa: PLC0415
    write(format_name, merge, out)
