"""Parquet: columns by input name. A chunk is found by its row group and row, and read batch by batch.

A row group is decoded from its start for every chunk in it: write row groups of ten thousand rows, not of millions.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_columns import check_schema, read_table
from ferry.bulk.formats.base import Chunk, ChunkRows, Index, Opener, PartResult, Rules, cut_evenly, rows_fault
from ferry.bulk.formats.table_output import check_names, to_table
from ferry.errors import InvalidInputError

_BATCH_ROWS = 4096


class Parquet:
    """The format `parquet`."""

    name = "parquet"
    media_type = "application/vnd.apache.parquet"
    suffix = ".parquet"

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the schema and cut by what the footer says."""
        try:
            source = _open(file)
            check_schema(source.schema_arrow, rules)
        except pa.ArrowException as error:
            return Index.failed("invalid_file", f"this is not a whole Parquet file: {_first_line(error)}")
        except InvalidInputError as error:
            return Index.failed("wrong_columns", error.detail)
        groups = [source.metadata.row_group(number) for number in range(source.num_row_groups)]
        n_bytes, n_rows = sum(group.total_byte_size for group in groups), source.metadata.num_rows
        if n_bytes > rules.limits.max_bytes:
            detail = f"the columns take {n_bytes} bytes uncompressed, the limit is {rules.limits.max_bytes}"
            return Index.failed("too_large", detail)
        if fault := rows_fault(n_rows, rules):
            return fault
        if any(group.num_rows < 0 for group in groups) or sum(group.num_rows for group in groups) != n_rows:
            return Index.failed("invalid_file", "the footer's row groups do not add up: the file is damaged")
        starts, first = [], 0
        for group in groups:
            starts.append(first)
            first += group.num_rows
        chunks, at = [], 0
        for chunk in cut_evenly(n_rows, n_bytes // n_rows, rules):
            while at + 1 < len(starts) and starts[at + 1] <= chunk.first:
                at += 1
            chunks.append(Chunk(chunk.first, chunk.rows, {"group": at, "row": chunk.first - starts[at]}))
        return Index(n_rows, tuple(chunks))

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read rows of the needed columns from their row group on."""
        try:
            source = _open(file)
            columns = check_schema(source.schema_arrow, rules)
            names = list(dict.fromkeys([*(name for each in columns for name in each.names), *rules.join]))
            table = _take(source, chunk, names)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"rows of the Parquet file cannot be read: {_first_line(error)}") from None
        return read_table(table, chunk, rules)

    def check_output(self, rules: Rules) -> None:
        """Refuse joined columns that have the name of an output."""
        check_names(rules)

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write the rows of a part as a file of their own."""
        pq.write_table(to_table(result, rules, flat=False), out)
        return len(result.rows.ids) - len(result.all_faults())

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write one file, a row group per part."""
        writer = None
        for opener in parts:
            with opener() as part:
                table = _open(part).read()
            if writer is None:
                writer = pq.ParquetWriter(out, table.schema)
            writer.write_table(same_schema(table, writer.schema))
        if writer is not None:
            writer.close()


def same_schema(table: Any, schema: Any) -> Any:
    """Return a part's table with the types of the first part; joined columns of nulls alone have no type of their own.

    Raises:
        InvalidInputError: when a joined column has another type in another part.
    """
    try:
        return table if table.schema.equals(schema) else table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise InvalidInputError(f"parts of the output differ in their columns: {_first_line(error)}") from None


def _open(file: BinaryIO) -> Any:
    file.seek(0)
    return pq.ParquetFile(file, pre_buffer=False)


def _take(source: Any, chunk: Chunk, names: list[str]) -> Any:
    skip, left = chunk.where["row"], chunk.rows
    groups, covered = [], -skip
    for number in range(chunk.where["group"], source.num_row_groups):
        groups.append(number)
        covered += source.metadata.row_group(number).num_rows
        if covered >= left:
            break
    parts = []
    batches: Iterator[Any] = source.iter_batches(
        batch_size=min(_BATCH_ROWS, skip + left), row_groups=groups, columns=names, use_threads=False
    )
    for batch in batches:
        taken = batch.slice(skip, left)
        skip = max(0, skip - batch.num_rows)
        left -= taken.num_rows
        if taken.num_rows:
            parts.append(taken)
        if not left:
            break
    if left:
        raise InvalidInputError(f"{left} rows are missing of what was indexed; was the file replaced?")
    return pa.Table.from_batches(parts)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
