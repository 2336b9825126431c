r"""Where the records of a delimited text end. A record ends at a line break where no quote is open.

Knows bytes, quotes and breaks; nothing of columns. A quote opens only at the begin of a field, as for pyarrow and
Python: `screen 5" wide` is text. Breaks are \n, \r\n and \r.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np

from ferry.bulk.formats.base import MIB
from ferry.tensors import Array

_QUOTE, _BREAK, _RETURN = 34, 10, 13
_RECORDS_AT_ONCE = 4096


class Record(NamedTuple):
    """Bytes [start, end) of a record, its break included. is_odd: text follows a closing quote in it."""

    start: int
    end: int
    is_odd: bool


class Spans(NamedTuple):
    """Several records at once. Shape: starts and ends int64 (records), odd bool (records)."""

    starts: Array
    ends: Array
    odd: Array


class RecordError(Exception):
    """A record cannot be told apart. offset: of the byte that the message is about."""

    def __init__(self, message: str, offset: int, *, is_quote: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.is_quote = is_quote


@dataclass(frozen=True, slots=True)
class Scan:
    """What to look for. has_empty: whether an empty line is a record, as in a table of one column."""

    delimiter: str
    max_bytes: int
    has_empty: bool = False


def scan_records(blocks: Iterable[bytes], scan: Scan, offset: int = 0) -> Iterator[Spans]:
    """Yield the records of a text whose blocks begin at `offset`, the begin of a record; many at a time.

    Raises:
        RecordError: a record is too long, or a quote is not closed or closed in a later line.
    """
    return _Scanner(scan, offset).run(blocks)


def records(blocks: Iterable[bytes], scan: Scan, offset: int = 0) -> Iterator[Record]:
    """Yield the same one by one; raises as `scan_records` does."""
    for spans in scan_records(blocks, scan, offset):
        yield from map(Record, spans.starts.tolist(), spans.ends.tolist(), spans.odd.tolist())


def read_blocks(file: BinaryIO, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield a file's bytes from `offset` on; others may read it elsewhere in between."""
    while end is None or offset < end:
        file.seek(offset)
        block = file.read(MIB if end is None else min(MIB, end - offset))
        if block.endswith(b"\r"):  # what it ends is known from the byte after it, so it goes into the next block
            block = block.rstrip(b"\r") or block
        if not block:
            return
        yield block
        offset += len(block)


def line_at(file: BinaryIO, offset: int) -> int:
    """Return the number of the line, from 1, that the byte at `offset` is in."""
    return 1 + sum(
        block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n") for block in read_blocks(file, 0, offset)
    )


class _Scanner:
    """One pass. By numpy as long as quotes are where they belong; line by line from the first that is not."""

    def __init__(self, scan: Scan, offset: int) -> None:
        self._scan = scan
        self._delimiter = ord(scan.delimiter)
        self._start = self._offset = offset  # of the open record, of the block
        self._last = _BREAK  # the byte before the block
        self._is_quoted = False
        self._quote = offset  # where the last quote opened
        self._held: list[bytes] = []  # blocks of the open record

    def run(self, blocks: Iterable[bytes]) -> Iterator[Spans]:
        source = iter(blocks)
        for block in source:
            data = np.frombuffer(block, np.uint8)
            breaks = self._find_breaks(block, data)
            if breaks is None:
                rest = b"".join((*self._held, block))
                yield from _Lines(self._scan, self._start).run(_chained(rest, source))
                return
            if len(breaks):
                yield self._cut(data, breaks)
            self._offset += len(block)
            self._last = block[-1]
            if self._offset - self._start > self._scan.max_bytes + 1:
                raise self._too_long()
            if len(breaks) and self._start < self._offset:
                self._held = [block[self._start - self._offset :]]
            elif len(breaks):
                self._held = []
            else:
                self._held.append(block)
        if self._is_quoted:
            raise unclosed(self._quote)
        size = self._offset - self._start
        if size > 1 or (size == 1 and (self._last != _RETURN or self._scan.has_empty)):
            yield _spans([Record(self._start, self._offset, is_odd=False)])

    def _cut(self, data: Array, breaks: Array) -> Spans:
        """Return the records that end at these breaks of the block."""
        ends = breaks + (self._offset + 1)
        starts = np.concatenate(([self._start], ends[:-1]))
        sizes = ends - starts
        if sizes.max() > self._scan.max_bytes + 1:
            self._start = int(starts[sizes.argmax()])
            raise self._too_long()
        self._start = int(ends[-1])
        if not self._scan.has_empty and sizes.min() <= 2:
            before = np.where(breaks > 0, data[breaks - 1], self._last)
            is_full = ~((sizes == 1) | ((sizes == 2) & (before == _RETURN)))
            starts, ends = starts[is_full], ends[is_full]
        return Spans(starts, ends, np.zeros(len(starts), bool))

    def _find_breaks(self, block: bytes, data: Array) -> Array | None:
        """Return where records end in a block; None where a quote is not where it belongs."""
        breaks = _breaks(data, block)
        if not self._is_quoted and _QUOTE not in block:
            return None if self._is_odd_close(data) else breaks
        quotes = np.flatnonzero(data == _QUOTE)
        opening, closing = quotes[self._is_quoted :: 2], quotes[not self._is_quoted :: 2]
        before = np.where(opening > 0, data[opening - 1], self._last)
        after = data[np.minimum(closing + 1, len(data) - 1)][closing + 1 < len(data)]
        if self._is_odd_close(data) or not (self._may_stand(before).all() and self._may_stand(after).all()):
            return None
        is_open = (np.searchsorted(quotes, breaks) + self._is_quoted) & 1
        self._is_quoted = bool((len(quotes) + self._is_quoted) & 1)
        if len(opening):
            self._quote = self._offset + int(opening[-1])
        ends: Array = breaks[is_open == 0]
        return ends

    def _is_odd_close(self, data: Array) -> bool:
        """Say whether the block before ended with a closing quote after which this one goes on as it may not."""
        if self._last != _QUOTE or self._is_quoted:
            return False
        return not bool(self._may_stand(data[:1]).all())

    def _may_stand(self, near: Array) -> Array:
        """Say of bytes whether they may stand beside a quote that opens or closes a field."""
        found: Array = (near == self._delimiter) | (near == _BREAK) | (near == _RETURN) | (near == _QUOTE)
        return found

    def _too_long(self) -> RecordError:
        if self._is_quoted:
            return unclosed(self._quote, self._scan.max_bytes)
        return RecordError(f"the record is longer than {self._scan.max_bytes} bytes", self._start)


class _Lines:
    """Goes line by line, field by field: for texts with quotes inside of fields."""

    def __init__(self, scan: Scan, offset: int) -> None:
        self._scan = scan
        self._delimiter = scan.delimiter.encode("ascii")
        self._start = self._offset = offset
        self._is_quoted = self._is_odd = False
        self._quote = offset

    def run(self, blocks: Iterable[bytes]) -> Iterator[Spans]:
        found: list[Record] = []
        for line in _lines(blocks, self._scan.max_bytes + 1):
            self._take(line)
            self._offset += len(line)
            if self._offset - self._start > self._scan.max_bytes + 1:
                if self._is_quoted:
                    raise unclosed(self._quote, self._scan.max_bytes)
                raise RecordError(f"the record is longer than {self._scan.max_bytes} bytes", self._start)
            if self._is_quoted:
                continue
            if self._scan.has_empty or line.strip(b"\r\n") or self._offset - self._start > len(line):
                found.append(Record(self._start, self._offset, self._is_odd))
            self._start, self._is_odd = self._offset, False
            if len(found) >= _RECORDS_AT_ONCE:
                yield _spans(found)
                found = []
        if self._is_quoted:
            raise unclosed(self._quote)
        if found:
            yield _spans(found)

    def _take(self, line: bytes) -> None:
        """Follow the quotes of a line."""
        place, opened_before = 0, self._is_quoted
        if not self._is_quoted and b'"' not in line:
            return
        if not self._is_quoted and line.startswith(b'"'):
            self._is_quoted, self._quote, place = True, self._offset, 1
        while True:
            if self._is_quoted:
                place = _closing(line, place)
                if place < 0:
                    return
                self._is_quoted = False
                place += 1
                if line[place : place + 1] not in (b"", b"\r", b"\n", self._delimiter):
                    if opened_before:
                        raise RecordError(
                            "a quote opens here and closes in a later line, amid text", self._quote, is_quote=True
                        )
                    self._is_odd = True
                opened_before = False
            place = line.find(self._delimiter, place)
            if place < 0:
                return
            place += 1
            if line[place : place + 1] == b'"':
                self._is_quoted, self._quote = True, self._offset + place
                place += 1


def _spans(found: list[Record]) -> Spans:
    table = np.array(found, np.int64)
    return Spans(table[:, 0], table[:, 1], table[:, 2] != 0)


def unclosed(offset: int, max_bytes: int | None = None) -> RecordError:
    """Return the error for a quote at `offset` that nothing closes."""
    within = "" if max_bytes is None else f" within {max_bytes} bytes"
    return RecordError(f"a quote opens here and is not closed{within}", offset, is_quote=True)


def _closing(line: bytes, place: int) -> int:
    """Return where an open quote closes, from `place` on; -1: not in this line. Two in a row are one of the text."""
    at = line.find(b'"', place)
    while at >= 0 and line[at + 1 : at + 2] == b'"':
        at = line.find(b'"', at + 2)
    return at


def _lines(blocks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield lines with their breaks; one that is too long in pieces."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).splitlines(keepends=True)
        yield from lines
        if rest.endswith(b"\n") or len(rest) > max_bytes:
            yield rest
            rest = b""
    if rest:
        yield rest


def _chained(first: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks


def _breaks(data: Array, block: bytes) -> Array:
    r"""Return where lines end: at each \n, and at each \r before another byte. `data` is the block's bytes."""
    is_break = data == _BREAK
    if _RETURN in block:
        returns = np.flatnonzero(data[:-1] == _RETURN)
        is_break[returns[data[returns + 1] != _BREAK]] = True
    return np.flatnonzero(is_break)
