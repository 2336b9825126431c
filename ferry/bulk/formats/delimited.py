r"""CSV and TSV: a header, then a row per record. A record ends at a line break where no quote is open.

A chunk is read by pyarrow's parser; where that refuses a value, by Python's, which says which row it was.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_columns import read_table
from ferry.bulk.formats.base import (
    INPUT_STATUS,
    INVALID_INPUT,
    MIB,
    Chunk,
    ChunkRows,
    Cutter,
    Group,
    Index,
    Opener,
    PartResult,
    RowFault,
    Rules,
    copy_bytes,
    good_rows,
    numbered,
    read_exactly,
    rows_fault,
    size_of,
)
from ferry.bulk.formats.columns import InputColumns, joined_names, map_columns
from ferry.bulk.formats.csv_cells import as_cells
from ferry.bulk.formats.pixels import cast_column
from ferry.bulk.formats.table_output import to_table
from ferry.errors import InvalidInputError
from ferry.missing import NA_WORDS, is_missing_cell, missing_element

_BOM = b"\xef\xbb\xbf"
_QUOTE, _BREAK, _RETURN = 34, 10, 13
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_WHOLE = {"b": bool, "i": int, "u": int, "f": float, "O": str}


class _TooLongError(Exception):
    """A record is longer than the limit; its number is the argument."""


class Delimited:
    """The formats `csv` and `tsv`."""

    def __init__(self, name: str, media_type: str, delimiter: str) -> None:
        self.name = name
        self.media_type = media_type
        self.suffix = f".{name}"
        self._delimiter = delimiter

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the header and cut at the ends of records."""
        size = size_of(file)
        if size > rules.limits.max_bytes:
            return Index.failed("too_large", f"the file has {size} bytes, the limit is {rules.limits.max_bytes}")
        cutter, header_end = Cutter(rules), 0
        try:
            for start, end in _records(file, rules.limits.max_row_bytes):
                if not header_end:
                    header_end = end
                    self._columns(file, header_end, rules)
                    continue
                where = {"start": start, "header": header_end}
                cutter.add(end - start, lambda w=where: w, lambda e=end: {"end": e})  # type: ignore[misc]
                if cutter.rows > rules.limits.max_rows:
                    break
        except InvalidInputError as error:
            return Index.failed("wrong_columns", error.detail, 1)
        except _TooLongError as error:
            detail = f"the record is longer than {rules.limits.max_row_bytes} bytes; is a quote not closed?"
            return Index.failed("line_too_long", detail, error.args[0])
        cutter.close({"end": size})
        return rows_fault(cutter.rows, rules) or Index(cutter.rows, cutter.done())

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read the records between two offsets."""
        where = chunk.where
        names, columns = self._columns(file, where["header"], rules)
        data = read_exactly(file, where["start"], where["end"] - where["start"])
        wanted = {name: _arrow_type(column) for column in columns for name in column.names}
        types = {**wanted, **{name: pa.string() for name in joined_names(names, columns, rules) if name not in wanted}}
        # Only where the usual null, an empty cell, is not enough does each cell cost a look into the list of words.
        table = self._parse(data, names, types, [""])
        if table is None:
            table = self._parse(data, names, types, list(NA_WORDS))
        if table is None or table.num_rows != chunk.rows:
            return self._read_slowly(data, chunk, rules, names, columns)
        return read_table(table, chunk, columns, rules)

    def _parse(self, data: bytes, names: list[str], types: dict[str, Any], na_words: list[str]) -> Any:
        """Return a chunk's records as a table, a null for each missing number; None where a cell is no value."""
        try:
            return pa_csv.read_csv(
                pa.BufferReader(data),
                read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=max(1, len(data))),
                parse_options=pa_csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types, include_columns=list(types), null_values=na_words, strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            return None

    def check_output(self, rules: Rules) -> None:
        """Refuse outputs without a fixed number of columns."""
        for spec in rules.manifest.outputs:
            if None in rules.row_shape(spec):
                raise InvalidInputError(f"output {spec.name!r} has an axis of any size; ask for jsonl or parquet")

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write a header and the rows of a part."""
        table = as_cells(to_table(result, rules, flat=True), escape_formulas=rules.escape_formulas)
        # Told apart from pyarrow's own by quoting: its header is always in quotes.
        writer = csv.writer(text := io.StringIO(), delimiter=self._delimiter, lineterminator="\n")
        writer.writerow(table.column_names)
        out.write(text.getvalue().encode("utf-8"))
        options = pa_csv.WriteOptions(include_header=False, delimiter=self._delimiter)
        body = pa.BufferOutputStream()
        pa_csv.write_csv(table, body, options)
        out.write(memoryview(body.getvalue()))
        return int(table.num_rows)

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write the parts one after the other, and the header once: that of the first part with rows."""
        header, has_rows = b"", False
        for opener in parts:
            with opener() as part:
                size = size_of(part)
                _, header_end = next(_records(part, size))
                # The header of a part without rows may lack the joined columns.
                if not has_rows and (not header or header_end < size):
                    header = read_exactly(part, 0, header_end)
                if header_end < size:
                    if not has_rows:
                        out.write(header)
                    part.seek(header_end)
                    copy_bytes(part, out)
                    has_rows = True
        if not has_rows:
            out.write(header)

    def _columns(self, file: BinaryIO, header_end: int, rules: Rules) -> tuple[list[str], list[InputColumns]]:
        raw = read_exactly(file, 0, header_end).removeprefix(_BOM)
        try:
            rows = [row for row in csv.reader(io.StringIO(raw.decode("utf-8")), delimiter=self._delimiter) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidInputError(f"the header cannot be read: {error}") from None
        names = [name.strip() for name in rows[0]] if rows else []
        return names, map_columns(names, rules, has_lists=False)

    def _read_slowly(
        self, data: bytes, chunk: Chunk, rules: Rules, names: list[str], columns: list[InputColumns]
    ) -> ChunkRows:
        ids, numbers = numbered(chunk.first, chunk.rows)
        # A byte that is no UTF-8 spoils its own field, as a mark that no number has.
        text = io.StringIO(data.decode("utf-8", "replace"), newline="")
        csv.field_size_limit(max(csv.field_size_limit(), rules.limits.max_row_bytes))
        rows = [row for row in csv.reader(text, delimiter=self._delimiter) if row]
        if len(rows) != chunk.rows:
            raise InvalidInputError(
                f"rows {chunk.first + 1} to {chunk.first + chunk.rows} do not part into {chunk.rows} records; "
                "a quote stands where it may not"
            )
        place = {name: at for at, name in enumerate(names)}
        faults: list[RowFault] = []
        good, elements = [], []
        for position, row in enumerate(rows):
            try:
                _check_width(row, names)
                elements.append([_convert([row[place[n]] for n in c.names], c) for c in columns])
                good.append(position)
            except InvalidInputError as error:
                param = error.faults[0].pointer if error.faults else None
                faults.append(RowFault(position, INVALID_INPUT, error.detail, param, INPUT_STATUS[rules.endpoint]))
        joined = {
            name: pa.array([_field(row, place[name]) for row in rows], pa.string())
            for name in joined_names(names, columns, rules)
        }
        groups: tuple[Group, ...] = ()
        if good:
            group, more = _cast_all(elements, columns, rules)
            groups = (Group.plain([good[p] for p in group.positions], group.arrays),)
            faults += [RowFault(good[f.position], f.code, f.message, f.param, f.status) for f in more]
        return ChunkRows(ids, numbers, groups, tuple(sorted(faults, key=lambda f: f.position)), joined)


def csv_format() -> Delimited:
    """Return the format `csv`."""
    return Delimited("csv", "text/csv", ",")


def tsv_format() -> Delimited:
    """Return the format `tsv`."""
    return Delimited("tsv", "text/tab-separated-values", "\t")


def _records(file: BinaryIO, max_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield first byte and byte after its line break of each record that is not empty."""
    start = offset = number = 0
    is_quoted, last = False, 0
    while block := _block(file, offset):
        data = np.frombuffer(block, np.uint8)
        breaks = np.flatnonzero(data == _BREAK)
        if b'"' in block or is_quoted:
            parity = (np.cumsum(data == _QUOTE) + is_quoted) & 1
            breaks, is_quoted = breaks[parity[breaks] == 0], bool(parity[-1])
        for at in breaks.tolist():
            end = offset + at + 1
            before = block[at - 1] if at else last
            is_empty = end - start == 1 or (end - start == 2 and before == _RETURN)
            number += not is_empty
            if end - start > max_bytes + 1:
                raise _TooLongError(number)
            if not is_empty:
                yield start, end
            start = end
        offset += len(block)
        last = block[-1]
        if offset - start > max_bytes + 1:
            raise _TooLongError(number + 1)
    if is_quoted:
        raise _TooLongError(number + 1)
    if offset > start and not (offset - start == 1 and last == _RETURN):
        yield start, offset


def _block(file: BinaryIO, offset: int) -> bytes:
    # Whoever takes the records may read elsewhere in between.
    file.seek(offset)
    return file.read(MIB)


def _arrow_type(column: InputColumns) -> Any:
    spec = column.spec
    if spec.is_string:
        return pa.string()
    # As float32 pyarrow would read 1e99 as infinity without a word.
    return pa.float64() if column.pixels or spec.numpy_dtype.kind == "f" else pa.from_numpy_dtype(np.dtype(spec.dtype))


def _check_width(row: list[str], names: list[str]) -> None:
    if len(row) != len(names):
        raise InvalidInputError(f"{len(row)} fields, the header has {len(names)}")


def _convert(fields: list[str], column: InputColumns) -> list[Any]:
    kind = "f" if column.pixels else column.spec.numpy_dtype.kind
    values: list[Any] = []
    for name, field in zip(column.names, fields, strict=True):
        if is_missing_cell(column.spec, field):
            values.append(math.nan if column.pixels else missing_element(column.spec, len(values)))
            continue
        try:
            if kind == "b":
                values.append(_BOOLS[field.strip().lower()])
            else:
                # Python reads 1_000 as a number, nobody else does.
                values.append(_WHOLE[kind](field if kind == "O" else field.replace("_", "?")))
        except (ValueError, KeyError):
            detail = f"column {name!r}: expected {column.spec.dtype}, got {field[:40]!r}"
            raise InvalidInputError.at(name, detail) from None
    return values


def _cast_all(elements: list[list[Any]], columns: list[InputColumns], rules: Rules) -> tuple[Group, list[RowFault]]:
    arrays, bad = [], {}
    sources = {"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64, "O": object}
    for at, column in enumerate(columns):
        spec, rows = column.spec, [row[at] for row in elements]
        try:
            array = np.array(rows, dtype=np.float64 if column.pixels else sources[spec.numpy_dtype.kind])
        except OverflowError:
            array = np.array(rows, dtype=np.float64)
        if not column.pixels:
            array = array.reshape((len(rows), *(size or 0 for size in spec.inner_shape)))
        cast, wrong = cast_column(column, array)
        arrays.append(cast)
        bad.update({row: (spec.name, why) for row, why in wrong.items()})
    return good_rows(arrays, bad, rules)


def _field(row: list[str], at: int) -> str | None:
    return row[at] if at < len(row) else None
