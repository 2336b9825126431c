"""A batch that runs the failed rows of an earlier batch again: which rows, where they go, and the merged output.

The error file of the earlier batch names the rows. Their numbers lie in the folder of the new batch, sorted, and each
chunk of its index says which of them are its own. Chunks without such rows are left out.
"""

from array import array
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import orjson

from ferry.bulk.batch_records import BatchRecord, retry_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.base import Chunk, ChunkRows, Format, Index, PartResult, Retried, Rules, numbered
from ferry.bulk.formats.selection import only_rows
from ferry.errors import FerryError, InvalidInputError, NotFoundError
from ferry.tensors import Array
from worker.bulk.batch_files import BatchFiles
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import polite_reader

SPAN = "retry"
# Formats in which a row that failed has its place in any case.
ALIGNED = ("npy", "npz")
_NUMBER = np.dtype("<i8")
PLACE_BYTES = _NUMBER.itemsize
# Numbers before those of the rows: see `_head`.
_HEAD = 2


class EarlierFileGoneError(FerryError):
    """A file of the earlier batch was deleted, or its time is over."""

    code = "file_not_found"
    title = "A file of the earlier batch is gone"


def replaces_rows(output_format: str, rules: Rules) -> bool:
    """Say whether rows that failed have places in the output, which the rows that are run again take."""
    return rules.errors_inline or output_format in ALIGNED


@dataclass(frozen=True, slots=True)
class Span:
    """Which of the failed rows are a chunk's own: those known by their row, and those known by their line.

    Each is a range of the sorted numbers. Of a chunk that was given up, the error file names rows; of others it names
    what their format counts.
    """

    rows: tuple[int, int]
    lines: tuple[int, int]

    @property
    def n_before(self) -> int:
        """Failed rows before the chunk."""
        return self.rows[0] + self.lines[0]

    @property
    def n_rows(self) -> int:
        """Failed rows of the chunk."""
        return self.rows[1] - self.rows[0] + self.lines[1] - self.lines[0]


def plan_retry(
    record: BatchRecord, source: Format, found: Index, rules: Rules, files: BatchFiles, interlude: Interlude
) -> Index:
    """Return the index of the failed rows alone, and write their numbers into the batch's folder.

    Raises:
        EarlierFileGoneError: the error file is gone.
        InvalidInputError: the file has no such rows.
    """
    rows, lines = _failed_rows(record, files, interlude)
    row_starts = np.searchsorted(rows, [chunk.first + 1 for chunk in found.chunks]).tolist()
    line_starts = [0] * len(row_starts)
    if len(lines):
        firsts = [_first_number(chunk, source, (record, rules, files, interlude)) for chunk in found.chunks]
        line_starts = np.searchsorted(lines, firsts).tolist()
    if row_starts[0] or line_starts[0] or not len(rows) + len(lines) or (len(rows) and rows[-1] > found.rows):
        raise InvalidInputError(f"the rows that failed in {record.retry_of} are not rows of this file")
    spans = zip(
        pairwise([*row_starts, len(rows)]), pairwise([*line_starts, len(lines)]), strict=True
    )  # fmt: skip
    chunks = tuple(
        replace(chunk, where={**chunk.where, SPAN: [*row_span, *line_span]})
        for chunk, (row_span, line_span) in zip(found.chunks, spans, strict=True)
        if Span(row_span, line_span).n_rows
    )
    head = np.array([found.rows, len(rows)], _NUMBER)
    files.write(retry_key(record.id), np.concatenate([head, rows, lines]).tobytes(), interlude)
    return replace(found, rows=len(rows) + len(lines), chunks=chunks)


def _failed_rows(record: BatchRecord, files: BatchFiles, interlude: Interlude) -> tuple[Array, Array]:
    """Return the numbers of the rows and of the lines that the error file names, each sorted."""
    rows, lines = array("q"), array("q")
    with open_earlier(record, record.retry_error_id, "error", files, interlude) as file:
        for line in file:
            fields = orjson.loads(line)
            if "line" in fields:
                lines.append(fields["line"])
            else:
                rows.append(fields["row"])
    return np.unique(np.array(rows, _NUMBER)), np.unique(np.array(lines, _NUMBER))


def _first_number(chunk: Chunk, source: Format, place: tuple[BatchRecord, Rules, BatchFiles, Interlude]) -> int:
    """Return the line at which a chunk begins."""
    if source.name == "jsonl":
        return int(chunk.where["line"])
    return read_rows(place[0], source, chunk, *place[1:]).numbers[0]  # only the rows themselves tell


def read_rows(
    record: BatchRecord, source: Format, chunk: Chunk, rules: Rules, files: BatchFiles, interlude: Interlude
) -> ChunkRows:
    """Read all rows of a chunk of the input."""
    with files.open_input(record, interlude) as raw:
        return source.read(polite_reader(raw, interlude), chunk, rules)


def span_of(chunk: Chunk) -> Span | None:
    """Return which of the failed rows are a chunk's own; None where the batch runs every row."""
    span = chunk.where.get(SPAN)
    return None if span is None else Span((span[0], span[1]), (span[2], span[3]))


def _own_numbers(record: BatchRecord, span: Span, files: BatchFiles, interlude: Interlude) -> tuple[Array, Array]:
    """Return the numbers of a chunk's failed rows: of rows, and of lines."""

    def read(start: int, end: int) -> Array:
        at = [(_HEAD + each) * PLACE_BYTES for each in (start, end)]
        raw = files.patiently(interlude, lambda: files.storage.read_range(retry_key(record.id), *at))
        return np.frombuffer(raw, _NUMBER)

    n_rows = int(_head(record, files, interlude)[1])
    return read(*span.rows), read(*(n_rows + each for each in span.lines))


def _head(record: BatchRecord, files: BatchFiles, interlude: Interlude) -> Array:
    """Return how many rows the file has, and how many of the failed ones are known by their row."""
    key, n_bytes = retry_key(record.id), _HEAD * PLACE_BYTES
    return np.frombuffer(files.patiently(interlude, lambda: files.storage.read_range(key, 0, n_bytes)), _NUMBER)


def only_failed(
    rows: ChunkRows, chunk: Chunk, record: BatchRecord, files: BatchFiles, interlude: Interlude
) -> ChunkRows:
    """Return the rows of a chunk that are to be run again; all, where the batch runs every row.

    Raises:
        InvalidInputError: they are not in the file any more.
    """
    span = span_of(chunk)
    if span is None:
        return rows
    by_row, by_line = _own_numbers(record, span, files, interlude)
    places = chunk.first + np.arange(len(rows.ids))
    is_wanted = np.isin(places + 1, by_row)
    if len(by_line):
        is_wanted |= np.isin(np.array(rows.numbers, _NUMBER), by_line)
    kept = np.flatnonzero(is_wanted)
    if len(kept) != span.n_rows:
        raise InvalidInputError("rows that failed earlier are not in the file any more; was it replaced?")
    return replace(only_rows(rows, kept), retried=Retried(places[kept], span.n_before))


def unread_rows(chunk: Chunk, record: BatchRecord, files: BatchFiles, interlude: Interlude) -> list[ChunkRows]:
    """Return a chunk's rows without what stands in the file: their numbers, of rows and of lines apart."""
    span = span_of(chunk)
    if span is None:
        return [ChunkRows(*numbered(chunk.first, chunk.rows), ())]
    by_row, by_line = (numbers.tolist() for numbers in _own_numbers(record, span, files, interlude))
    return [
        *([ChunkRows([str(number) for number in by_row], by_row, (), unit="row")] if by_row else []),
        *([ChunkRows([str(number) for number in by_line], by_line, (), unit="line")] if by_line else []),
    ]


def places_in_output(result: PartResult, output_rows: int, *, replaces: bool) -> memoryview:
    """Return the earlier row that each row of a part takes the place of, or is put before; -1 where that is not known.

    Shape: int64 (rows of the part).

    Raises:
        InvalidInputError: a line of the input has several rows in the output.
    """
    retried = result.rows.retried
    if retried is None:
        return memoryview(np.full(output_rows, -1, _NUMBER).tobytes())
    at = retried.places
    if not replaces:
        at = at - retried.n_before - np.arange(len(at))
        at = np.delete(at, [fault.position for fault in result.all_faults()])
    if len(at) != output_rows:
        raise InvalidInputError(
            "lines of this file hold several rows each; failed ones can be run again with jsonl as the output only"
        )
    return memoryview(at.astype(_NUMBER).tobytes())


def places_from_bytes(data: bytes) -> Array:
    """Return what `places_in_output` gave."""
    return np.frombuffer(data, _NUMBER)


def n_earlier_rows(record: BatchRecord, files: BatchFiles, interlude: Interlude, *, replaces: bool) -> int:
    """Return how many rows the output of the earlier batch has."""
    n_rows = int(_head(record, files, interlude)[0])
    return n_rows if replaces else n_rows - (record.total or 0)


def open_earlier(
    record: BatchRecord, file_id: str | None, what: str, files: BatchFiles, interlude: Interlude
) -> BinaryIO:
    """Open a file of the earlier batch.

    Raises:
        EarlierFileGoneError: it is gone.
        StorageError: the storage is away for too long.
    """
    key = key_of(file_id or "")
    try:
        return polite_reader(files.patiently(interlude, lambda: files.storage.open(key)), interlude)
    except NotFoundError as error:
        detail = f"the {what} file of {record.retry_of} was deleted, or its time is over; run the whole file again"
        raise EarlierFileGoneError(detail) from error
