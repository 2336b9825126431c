"""Whether a delimited text's decimal sign is certain: by its first rows, else by all, before the first one runs.

Where the first rows do not settle it, a later cell such as 1.234 may still be a thousand. Only chunks with such cells
are read again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO

import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.base import Chunk, Rules, read_exactly
from ferry.bulk.formats.delimited_rows import SlowReader, parse_texts
from ferry.bulk.formats.layout_messages import ask_decimal
from ferry.bulk.formats.records import Scan, records
from ferry.bulk.formats.table_layout import Layout
from ferry.bulk.formats.thousands import SignEvidence
from ferry.errors import InvalidInputError


class DecimalSignError(InvalidInputError):
    """A cell may be read in two ways. offset: of its record."""

    offset: int


def find_open_sign(rows: Iterable[Sequence[str]], layout: Layout, rules: Rules) -> SignEvidence | None:
    """Return what the first rows say of the decimal sign where they do not settle it.

    Raises:
        InvalidInputError: a sign may part thousands: 1,234 is 1.234 or 1234.
    """
    if rules.reading.decimal or not layout.float_names:
        return None
    used = set(layout.float_names)
    places = [place for place, name in enumerate(layout.names) if name in used]
    # Few tools write points between thousands: only those of countries with a decimal comma, which use semicolons.
    evidence = SignEvidence(layout.decimal, is_doubtful_alone=layout.decimal == "," or layout.delimiter == ";")
    with_sign = [row for row in rows if layout.decimal in "".join(row)]
    evidence.add(row[place].strip() for row in with_sign for place in places if place < len(row))
    if evidence.doubt:
        raise ask_decimal(evidence.doubt, layout.decimal)
    return None if evidence.is_decimal else evidence


def check_decimal_sign(
    file: BinaryIO, chunks: Sequence[Chunk], evidence: SignEvidence, layout: Layout, rules: Rules
) -> None:
    """Refuse a text in which a cell may have thousands and no other settles it; `evidence`: of the first rows.

    Raises:
        DecimalSignError: it names the cell and the option.
    """
    sign, found = evidence.sign.encode(), replace(evidence, doubtful=None)
    where: tuple[Chunk, int] | None = None
    for chunk in chunks:
        data = read_exactly(file, chunk.where["start"], chunk.where["end"] - chunk.where["start"])
        for row, cell in _cells(data, chunk, layout, rules, evidence.sign) if sign in data else ():
            found.add([cell])
            if found.is_decimal:
                return
            if where is None and found.doubtful:
                where = chunk, row
    if where and found.doubt:
        error = DecimalSignError(ask_decimal(found.doubt, found.sign).detail)
        error.offset = _offset(file, *where, layout)
        raise error


def _cells(data: bytes, chunk: Chunk, layout: Layout, rules: Rules, sign: str) -> Iterator[tuple[int, str]]:
    """Yield the cells of floats that have a sign in them, each with its row in the chunk."""
    table = None if chunk.where["odd"] else parse_texts(data, layout, layout.float_names)
    if table is not None and table.num_rows == chunk.rows:
        for column in table.columns:
            yield from _with_sign(column, sign)
        return
    names = set(layout.float_names)
    places = [place for place, name in enumerate(layout.names) if name in names]
    for number, row in enumerate(SlowReader(layout, chunk, rules).rows(data, is_odd=bool(chunk.where["odd"]))):
        fields = row or ()
        yield from ((number, fields[at].strip()) for at in places if at < len(fields) and sign in fields[at])


def _with_sign(column: Any, sign: str) -> Iterator[tuple[int, str]]:
    has_sign = pc.match_substring(column, sign)
    if not pc.any(has_sign).as_py():
        return
    texts = column.filter(has_sign).to_pylist()
    rows = pc.indices_nonzero(has_sign).to_pylist()
    yield from ((row, text.strip()) for row, text in zip(rows, texts, strict=True))


def _offset(file: BinaryIO, chunk: Chunk, row: int, layout: Layout) -> int:
    """Return where a row of a chunk begins in the file."""
    start, end = chunk.where["start"], chunk.where["end"]
    scan = Scan(layout.delimiter, end - start, has_empty=len(layout.names) == 1)
    return next(islice(records([read_exactly(file, start, end - start)], scan, start), row, None)).start
