"""Parquet: columns by input name. A chunk is found by its row group and row, and read batch by batch.

A row group can only be decoded from its start. Whoever reads chunks in their order with one `Parquet` decodes each row
group once, as `parquet_rows` remembers where it stood; several workers in one row group each decode what lies before
their chunks: write row groups of ten thousand rows, not of millions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_columns import read_table
from ferry.bulk.formats.arrow_schema import check_schema, joined_types
from ferry.bulk.formats.base import (
    Chunk,
    ChunkRows,
    Index,
    Opener,
    PartResult,
    Rules,
    rows_fault,
    rows_per_chunk,
)
from ferry.bulk.formats.columns import column_notes, joined_names
from ferry.bulk.formats.joined_types import as_parquet
from ferry.bulk.formats.parquet_int96 import open_parquet, unit_of_int96
from ferry.bulk.formats.parquet_rows import ParquetRows, first_line
from ferry.bulk.formats.table_output import tables_with_rows, to_table
from ferry.errors import InvalidInputError


class Parquet:
    """The format `parquet`."""

    name = "parquet"
    media_type = "application/vnd.apache.parquet"
    suffix = ".parquet"

    def __init__(self) -> None:
        self._rows: ParquetRows | None = None

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the schema and cut by what the footer says."""
        try:
            source = open_parquet(file)
            columns = check_schema(source.schema_arrow, rules)
            if fault := _size_fault(source.metadata, rules):
                return fault
            unit = unit_of_int96(file, joined_names(source.schema_arrow.names, columns, rules))
            schema = open_parquet(file, unit).schema_arrow if unit else source.schema_arrow
            joined, notes = joined_types(schema, columns, rules), column_notes(schema.names, columns, rules)
        except pa.ArrowException as error:
            return Index.failed("invalid_file", f"this is not a whole Parquet file: {first_line(error)}")
        except InvalidInputError as error:
            return Index.failed("wrong_columns", error.detail)
        sizes, n_bytes = _sizes(source.metadata)
        n_rows = source.metadata.num_rows
        chunks = tuple(_cut(sizes, n_bytes // n_rows, rules, unit))
        return Index(n_rows, chunks, notes=notes, joined=joined)

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read rows of the needed columns from their row group on; go on where the last chunk of this file ended."""
        rows, self._rows = self._rows, None
        try:
            unit = chunk.where.get("int96")
            if rows is None or rows.int96_unit != unit or not rows.is_of(file):
                rows = ParquetRows(file, unit)
            columns = check_schema(rows.schema, rules)
            joined = joined_names(rows.schema.names, columns, rules)
            names = list(dict.fromkeys([*(name for each in columns for name in each.names), *joined]))
            table = rows.take(chunk, names)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"rows of the Parquet file cannot be read: {first_line(error)}") from None
        self._rows = rows
        return read_table(table, chunk, columns, rules)

    def check_output(self, rules: Rules) -> None:
        """Hold any output."""

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write the rows of a part as a file of their own."""
        table = as_parquet(to_table(result, rules, flat=False))
        # Without a dictionary, categories would lose their order.
        kept = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        try:
            # It is read once, soon, to become part of the whole.
            pq.write_table(table, out, compression="NONE", use_dictionary=kept or False)
        except pa.ArrowException as error:
            raise InvalidInputError(f"parquet cannot hold a value of this chunk: {first_line(error)}") from None
        return int(table.num_rows)

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write one file, a row group per part that has rows."""
        write_tables(lambda: _tables(parts), out)


def write_tables(tables: Callable[[], Iterator[Any]], out: BinaryIO) -> None:
    """Write one file of tables, a row group for each that has rows."""
    writer = None
    for table in tables_with_rows(tables()):
        if writer is None:
            writer = pq.ParquetWriter(out, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _tables(parts: Sequence[Opener]) -> Iterator[Any]:
    for opener in parts:
        with opener() as part:
            yield open_parquet(part).read()


def _sizes(footer: Any) -> tuple[list[int], int]:
    """Return the rows of each row group, and the bytes of all, uncompressed."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return [group.num_rows for group in groups], sum(group.total_byte_size for group in groups)


def _size_fault(footer: Any, rules: Rules) -> Index | None:
    """Return what is wrong with the sizes in a file's footer, if anything."""
    sizes, n_bytes = _sizes(footer)
    if n_bytes > rules.limits.max_bytes:
        detail = f"the columns take {n_bytes} bytes uncompressed, the limit is {rules.limits.max_bytes}"
        return Index.failed("too_large", detail)
    if fault := rows_fault(footer.num_rows, rules):
        return fault
    if any(size < 0 for size in sizes) or sum(sizes) != footer.num_rows:
        return Index.failed("invalid_file", "the footer's row groups do not add up: the file is damaged")
    return None


def _cut(sizes: Sequence[int], row_bytes: int, rules: Rules, int96_unit: str | None) -> Iterator[Chunk]:
    """Yield chunks of several whole row groups, or of a part of one that is larger than a chunk."""
    more = {"int96": int96_unit} if int96_unit else {}
    most, first, group, n_rows = rows_per_chunk(row_bytes, rules), 0, 0, 0
    for number, size in enumerate((*sizes, most + 1)):
        if n_rows and n_rows + size > most:
            for start in range(0, n_rows, most):
                yield Chunk(first + start, min(most, n_rows - start), {"group": group, "row": start} | more)
            first, n_rows = first + n_rows, 0
        if not n_rows:
            group = number
        n_rows += size
