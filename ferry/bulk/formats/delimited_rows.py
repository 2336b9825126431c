"""A chunk of a delimited text to rows: by pyarrow where every cell is plain, else cell by cell.

Both ways give the same rows; only the second says which row fails, and why.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_columns import read_table
from ferry.bulk.formats.base import (
    INPUT_STATUS,
    INVALID_INPUT,
    Chunk,
    ChunkRows,
    Group,
    RowFault,
    Rules,
    good_rows,
    numbered,
)
from ferry.bulk.formats.cells import cell_reader
from ferry.bulk.formats.columns import InputColumns, joined_names
from ferry.bulk.formats.pixels import cast_column
from ferry.bulk.formats.records import Scan, records
from ferry.bulk.formats.table_layout import Layout
from ferry.bulk.formats.text_encoding import UTF8
from ferry.errors import InvalidInputError
from ferry.missing import NA_WORDS

_BOM = b"\xef\xbb\xbf"
QUOTE_REMEDY = 'quotes in a field are written twice, as in "screen 5"" wide" (Spark: option escape)'


def read_fast(data: bytes, chunk: Chunk, rules: Rules, layout: Layout) -> ChunkRows | None:
    """Return a chunk's rows as pyarrow reads them; None where it does not read each cell as `cell_reader` does."""
    columns = layout.columns
    # Only where the usual null, an empty cell, is not enough does each cell cost a look into the list of words.
    table = _parse(data, layout, rules, [""])
    if table is None:
        table = _parse(data, layout, rules, list(NA_WORDS))
    if table is None or table.num_rows != chunk.rows:
        return None
    rows = read_table(table, chunk, columns, rules)
    # A number beyond float64 is infinite for pyarrow.
    is_finite = all(array.dtype.kind != "f" or not np.isinf(array).any() for g in rows.groups for array in g.arrays)
    return rows if is_finite else None


def _parse(data: bytes, layout: Layout, rules: Rules, na_words: list[str]) -> Any:
    """Return a chunk's records as a table, a null for each missing number; None where a cell is no value."""
    names, columns, has_end = list(layout.names), layout.columns, len(layout.own_names) < len(layout.names)
    wanted = {name: _arrow_type(column) for column in columns for name in column.names}
    joined = joined_names(layout.own_names, columns, rules)
    types = {**wanted, **{name: pa.string() for name in joined if name not in wanted}}
    if has_end:
        types[names[-1]] = pa.string()
    table = _read_csv(data, layout, types, na_words)
    if table is None:
        return None
    # What follows the last delimiter must be nothing; a row with something there fails.
    return None if has_end and pc.max(pc.binary_length(table[names[-1]])).as_py() else table


def parse_texts(data: bytes, layout: Layout, names: Sequence[str]) -> Any:
    """Return some columns of a chunk's records as a table of text; None where a record does not fit."""
    return _read_csv(data, layout, {name: pa.string() for name in names}, [])


def _read_csv(data: bytes, layout: Layout, types: Mapping[str, Any], na_words: list[str]) -> Any:
    """Return columns of these types as a table; None where a record or a cell does not fit."""
    # pyarrow drops a mark at the begin of what it reads; in a chunk U+FEFF is text, so it gets one more to drop.
    data = _BOM + data if data.startswith(_BOM) else data
    names = list(layout.names)
    try:
        return pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=max(1, len(data))),
            parse_options=pa_csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=len(names) > 1
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=na_words, strings_can_be_null=False,
                decimal_point=layout.decimal,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid:
        return None


class SlowReader:
    """Reads a chunk cell by cell, and says which rows fail and why."""

    def __init__(self, layout: Layout, chunk: Chunk, rules: Rules) -> None:
        self._layout, self._chunk, self._rules = layout, chunk, rules
        self._place = {name: at for at, name in enumerate(layout.names)}
        self._readers = [
            [(self._place[name], cell_reader(column, at, layout.decimal)) for at, name in enumerate(column.names)]
            for column in layout.columns
        ]

    def read(self, data: bytes, *, is_odd: bool) -> ChunkRows:
        """Return the rows; is_odd: in one at least text follows a closing quote."""
        chunk, rules, columns = self._chunk, self._rules, self._layout.columns
        rows = list(self.rows(data, is_odd=is_odd))
        if len(rows) != chunk.rows:
            raise InvalidInputError(f"{len(rows)} records where {chunk.rows} were indexed; was the file replaced?")
        faults: list[RowFault] = []
        good, elements = [], []
        for position, row in enumerate(rows):
            try:
                elements.append(self._elements(row))
                good.append(position)
            except InvalidInputError as error:
                param = error.faults[0].pointer if error.faults else None
                faults.append(RowFault(position, INVALID_INPUT, error.detail, param, INPUT_STATUS[rules.endpoint]))
        joined = {
            name: pa.array([_field(row, self._place[name]) for row in rows], pa.string())
            for name in joined_names(self._layout.own_names, columns, rules)
        }
        groups: tuple[Group, ...] = ()
        if good:
            group, more = _cast_all(elements, columns, rules)
            groups = (Group.plain([good[p] for p in group.positions], group.arrays),)
            faults += [RowFault(good[f.position], f.code, f.message, f.param, f.status) for f in more]
        ids, numbers = numbered(chunk.first, chunk.rows)
        return ChunkRows(ids, numbers, groups, tuple(sorted(faults, key=lambda f: f.position)), joined)

    def rows(self, data: bytes, *, is_odd: bool) -> Iterator[list[str] | None]:
        """Yield the fields of each row; None for one whose quotes are wrong."""
        yield from self._odd_rows(data) if is_odd else self._rows(data)

    def _rows(self, data: bytes) -> Iterator[list[str]]:
        is_one = len(self._layout.names) == 1
        for row in csv.reader(io.StringIO(_text(data), newline=""), delimiter=self._layout.delimiter):
            if row or is_one:
                yield row or [""]

    def _odd_rows(self, data: bytes) -> Iterator[list[str] | None]:
        scan = Scan(self._layout.delimiter, len(data), has_empty=len(self._layout.names) == 1)
        for record in records([data], scan):
            yield None if record.is_odd else next(self._rows(data[record.start : record.end]))

    def _elements(self, row: list[str] | None) -> list[list[Any]]:
        """Return the elements of each input."""
        layout = self._layout
        if row is None:
            raise InvalidInputError(f"text follows a closing quote; {QUOTE_REMEDY}")
        fields = layout.fitted(row)
        if fields is None:
            raise InvalidInputError(_misfit(row, layout))
        return [[read(fields[at]) for at, read in column] for column in self._readers]


def _misfit(row: Sequence[str], layout: Layout) -> str:
    """Say why a row does not fit."""
    width = len(layout.own_names)
    if layout.extra == "empty" and len(row) == len(layout.names):
        return f"the last field holds {row[-1][:40]!r}, its column has no name and is empty in the other rows"
    if layout.extra == "first":
        return f"{len(row)} fields, the header has {width - 1} beside the names of the rows"
    return f"{len(row)} fields, the {'header' if layout.has_header else 'first line'} has {width}"


def _text(data: bytes) -> str:
    try:
        return data.decode(UTF8)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the file is not what was indexed ({error}); was it replaced?") from None


def _arrow_type(column: InputColumns) -> Any:
    spec = column.spec
    if spec.is_string:
        return pa.string()
    # As float32 pyarrow would read 1e99 as infinity without a word.
    return pa.float64() if column.is_float else pa.from_numpy_dtype(np.dtype(spec.dtype))


def _cast_all(
    elements: list[list[list[Any]]], columns: Sequence[InputColumns], rules: Rules
) -> tuple[Group, list[RowFault]]:
    arrays, bad = [], {}
    for at, column in enumerate(columns):
        spec, rows = column.spec, [row[at] for row in elements]
        # Whole numbers fit their dtype, that was checked; floats are rounded from float64, as pyarrow's are.
        array = np.array(rows, dtype=np.float64 if column.is_float else spec.numpy_dtype)
        if not column.pixels:
            array = array.reshape((len(rows), *(size or 0 for size in spec.inner_shape)))
        cast, wrong = cast_column(column, array)
        arrays.append(cast)
        bad.update({row: (spec.name, why) for row, why in wrong.items()})
    return good_rows(arrays, bad, rules)


def _field(row: list[str] | None, at: int) -> str | None:
    return row[at] if row and at < len(row) else None
