"""CSV and TSV: a header, then a row per record; or rows alone.

`layout` says how a file is read, `records` where a record ends, `delimited_rows` reads a chunk.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]

from ferry.bulk.formats.base import (
    MIB,
    Chunk,
    ChunkRows,
    Index,
    Opener,
    PartResult,
    Rules,
    copy_bytes,
    read_exactly,
    rows_fault,
    size_of,
)
from ferry.bulk.formats.cells import is_plain
from ferry.bulk.formats.columns import map_columns
from ferry.bulk.formats.csv_cells import as_cells
from ferry.bulk.formats.decimal_signs import DecimalSignError, check_decimal_sign
from ferry.bulk.formats.delimited_rows import QUOTE_REMEDY, SlowReader, read_fast
from ferry.bulk.formats.first_lines import column_names, first_record, place_names
from ferry.bulk.formats.layout import DELIMITERS, recognise_layout
from ferry.bulk.formats.record_chunks import RecordCutter
from ferry.bulk.formats.records import RecordError, Scan, line_at, read_blocks, records, scan_records
from ferry.bulk.formats.table_layout import Layout, own_names
from ferry.bulk.formats.table_output import to_table
from ferry.bulk.formats.text_encoding import UTF8, Decoder, EncodingError
from ferry.bulk.formats.thousands import ThousandsWatch
from ferry.errors import InvalidInputError

_BOM = b"\xef\xbb\xbf"
# Excel's first line that names the delimiter.
_NAMED_DELIMITER = re.compile(rb"sep=([,;\t|:^~ ])\r?\n", re.IGNORECASE)
_SAMPLE_BYTES = MIB // 4


class Delimited:
    """The formats `csv` and `tsv`. The text is UTF-8; other encodings are turned into it before."""

    def __init__(self, name: str, media_type: str, delimiter: str) -> None:
        self.name = name
        self.media_type = media_type
        self.suffix = f".{name}"
        self._delimiter = delimiter
        self._known: tuple[tuple[Any, ...], Rules, Layout] | None = None

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Recognise the layout and cut at the ends of records."""
        size = size_of(file)
        if size > rules.limits.max_bytes:
            return Index.failed("too_large", f"the file has {size} bytes, the limit is {rules.limits.max_bytes}")
        try:
            cutter, notes = self._cut(file, size, rules)
        except EncodingError as error:
            line = None if error.offset is None else line_at(file, error.offset)
            return Index.failed("invalid_encoding", error.detail, line, param="encoding")
        except DecimalSignError as error:
            return Index.failed("wrong_columns", error.detail, line_at(file, error.offset))
        except InvalidInputError as error:
            return Index.failed("wrong_columns", error.detail, 1)
        except RecordError as error:
            code, remedy = ("invalid_quote", f"; {QUOTE_REMEDY}") if error.is_quote else ("line_too_long", "")
            return Index.failed(code, f"{error}{remedy}", line_at(file, error.offset))
        return rows_fault(cutter.rows, rules) or Index(cutter.rows, tuple(cutter.chunks), notes=notes)

    def _cut(self, file: BinaryIO, size: int, rules: Rules) -> tuple[RecordCutter, tuple[str, ...]]:
        """Return the file in chunks, and what its sender should know of how it is read."""
        begin, sample, is_whole = _sample(file, size, rules)
        named = _NAMED_DELIMITER.match(sample)
        skipped = len(named[0]) if named else 0
        text = Decoder(UTF8, begin + skipped).decode(sample[skipped:], final=is_whole)
        if not text.strip():
            return RecordCutter(rules, {}), ()
        default = named[1].decode("latin-1") if named else self._delimiter
        try:
            found = recognise_layout(text, rules, default, is_whole=is_whole)
        except InvalidInputError:
            # An open quote makes the first rows look like something else; what is then said of them means nothing.
            _check_quotes(file, begin + skipped, sample[skipped:], rules.reading.delimiter or default, rules)
            raise
        if found.open_sign is None:
            return _chunks(file, begin + skipped, found.layout, rules), found.notes
        watch = ThousandsWatch(found.open_sign, found.layout.delimiter)
        cutter = _chunks(file, begin + skipped, found.layout, rules, watch)
        if watch.may_doubt:
            check_decimal_sign(file, cutter.chunks, watch.evidence, found.layout, rules)
        return cutter, found.notes

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read the records between two offsets."""
        layout = self._layout(file, chunk.where, rules)
        data = read_exactly(file, chunk.where["start"], chunk.where["end"] - chunk.where["start"])
        is_odd = bool(chunk.where["odd"])
        if not is_odd and is_plain(data, rules.manifest.inputs):
            rows = read_fast(data, chunk, rules, layout)
            if rows is not None:
                return rows
        return SlowReader(layout, chunk, rules).read(data, is_odd=is_odd)

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
                header_end = next(records(read_blocks(part), Scan(self._delimiter, size))).end
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

    def _layout(self, file: BinaryIO, where: Mapping[str, Any], rules: Rules) -> Layout:
        """Return how a chunk's rows are read, as its index says; the last one is remembered."""
        start, end = where["header"]
        header = read_exactly(file, start, end - start)
        key = (header, where["delimiter"], where["decimal"], where["width"], where["extra"])
        if self._known and self._known[0] == key and self._known[1] is rules:
            return self._known[2]
        names = place_names(where["width"])
        if header:
            names = column_names(first_record(header.decode(UTF8), where["delimiter"]), where["extra"])
        names_of_rows = own_names(names, where["extra"])
        columns = tuple(map_columns(names_of_rows, rules, has_lists=False, has_names=bool(header)))
        layout = Layout(names, columns, where["delimiter"], where["decimal"], bool(header), where["extra"])
        self._known = (key, rules, layout)
        return layout


def csv_format() -> Delimited:
    """Return the format `csv`."""
    return Delimited("csv", "text/csv", ",")


def tsv_format() -> Delimited:
    """Return the format `tsv`."""
    return Delimited("tsv", "text/tab-separated-values", "\t")


def _sample(file: BinaryIO, size: int, rules: Rules) -> tuple[int, bytes, bool]:
    """Return where the text begins behind its mark, at least its first two lines, and whether that is all of it."""
    n_bytes = _SAMPLE_BYTES
    while True:
        sample = read_exactly(file, 0, min(n_bytes, size))
        n_lines = sample.count(b"\n") or sample.count(b"\r")
        if n_bytes >= size or n_lines > 1 or n_bytes > rules.limits.max_row_bytes:
            begin = len(_BOM) if sample.startswith(_BOM) else 0
            return begin, sample[begin:], n_bytes >= size
        n_bytes *= 4


def _check_quotes(file: BinaryIO, begin: int, sample: bytes, default: str, rules: Rules) -> None:
    """Look for a quote that opens in a sample and that nothing closes; `default`: the usual delimiter.

    Raises:
        RecordError: there is one.
    """
    first = sample.lstrip().splitlines()[0]
    delimiter = next((each for each in (default, *DELIMITERS) if each.encode() in first), default)
    scan = Scan(delimiter, rules.limits.max_row_bytes)
    for record in records(read_blocks(file, begin), scan, begin):
        if record.end >= begin + len(sample):
            return


def _chunks(
    file: BinaryIO, begin: int, layout: Layout, rules: Rules, watch: ThousandsWatch | None = None
) -> RecordCutter:
    """Return the chunks of a text whose first record begins at `begin`; `watch` looks at the bytes of its rows.

    Raises:
        RecordError: a record is too long, or a quote is not closed.
        InvalidInputError: a byte is not UTF-8.
    """
    scan = Scan(layout.delimiter, rules.limits.max_row_bytes)
    header = (begin, begin)
    if layout.has_header:
        first = next(records(read_blocks(file, begin), scan, begin))
        header = (first.start, first.end)
    scan = replace(scan, has_empty=len(layout.names) == 1)
    where = {
        "header": header, "delimiter": layout.delimiter, "decimal": layout.decimal, "width": len(layout.names),
        "extra": layout.extra,
    }  # fmt: skip
    cutter = RecordCutter(rules, where)
    blocks = _checked(file, header[1])
    for spans in scan_records(watch.passing(blocks) if watch else blocks, scan, header[1]):
        cutter.add(spans)
        if cutter.rows > rules.limits.max_rows:
            break
    cutter.close()
    return cutter


def _checked(file: BinaryIO, offset: int) -> Iterator[bytes]:
    """Yield a file's blocks from `offset` on.

    Raises:
        InvalidInputError: a byte is not UTF-8.
    """
    decoder = Decoder(UTF8, offset)
    for block in read_blocks(file, offset):
        decoder.check(block)
        yield block
    decoder.check(b"", final=True)
