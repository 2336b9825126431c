"""Arrow IPC, file and stream: columns by input name. A chunk is rows of consecutive record batches.

The batches of a stream are passed over from its start for every chunk; of a file they are found by their number.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_columns import read_table
from ferry.bulk.formats.arrow_schema import check_schema, joined_types
from ferry.bulk.formats.base import Chunk, ChunkRows, Index, Opener, PartResult, Rules, cut_evenly, rows_fault
from ferry.bulk.formats.categories import Categories
from ferry.bulk.formats.columns import column_notes
from ferry.bulk.formats.table_output import tables_with_rows, to_table
from ferry.errors import InvalidInputError

_FILE_MAGIC = b"ARROW1"


class Arrow:
    """The format `arrow`; its output is an IPC file."""

    name = "arrow"
    media_type = "application/vnd.apache.arrow.file"
    suffix = ".arrow"

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the schema and count the rows of every batch, one in memory at a time."""
        starts, n_rows, n_bytes = [], 0, 0
        try:
            schema, batches = open_batches(file)
            columns = check_schema(schema, rules)
            joined, notes = joined_types(schema, columns, rules), column_notes(schema.names, columns, rules)
            for batch in batches:
                starts.append(n_rows)
                n_rows += batch.num_rows
                n_bytes += batch.nbytes
                if n_bytes > rules.limits.max_bytes:
                    return Index.failed("too_large", f"the columns take over {rules.limits.max_bytes} bytes, the limit")
        except pa.ArrowNotImplementedError as error:
            return Index.failed("invalid_file", _unsupported(error))
        except (pa.ArrowException, OSError, EOFError) as error:
            return Index.failed("invalid_file", f"this is not a whole Arrow file: {str(error)[:200]}")
        except InvalidInputError as error:
            return Index.failed("wrong_columns", error.detail)
        if fault := rows_fault(n_rows, rules):
            return fault
        chunks, at = [], 0
        for chunk in cut_evenly(n_rows, n_bytes // n_rows, rules):
            while at + 1 < len(starts) and starts[at + 1] <= chunk.first:
                at += 1
            chunks.append(Chunk(chunk.first, chunk.rows, {"batch": at, "row": chunk.first - starts[at]}))
        return Index(n_rows, tuple(chunks), notes=notes, joined=joined)

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read rows from their batch on."""
        parts, skip, left = [], chunk.where["row"], chunk.rows
        try:
            _, batches = open_batches(file, chunk.where["batch"])
            for batch in batches:
                taken = batch.slice(skip, left)
                skip = max(0, skip - batch.num_rows)
                left -= taken.num_rows
                if taken.num_rows:
                    parts.append(taken)
                if not left:
                    break
        except (pa.ArrowException, OSError, EOFError) as error:
            raise InvalidInputError(f"rows of the Arrow file cannot be read: {str(error)[:200]}") from None
        if left:
            raise InvalidInputError(f"{left} rows are missing of what was indexed; was the file replaced?")
        table = pa.Table.from_batches(parts)
        return read_table(table, chunk, check_schema(table.schema, rules), rules)

    def check_output(self, rules: Rules) -> None:
        """Hold any output."""

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write the rows of a part as a stream."""
        table = to_table(result, rules, flat=False)
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        return int(table.num_rows)

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write one IPC file, a part at a time."""
        write_tables(lambda: _tables(parts), out)


def write_tables(tables: Callable[[], Iterator[Any]], out: BinaryIO) -> None:
    """Write one IPC file of tables, gone through twice where a column has categories: it has one dictionary then."""
    writer = categories = None
    for table in tables_with_rows(tables()):
        if writer is None:
            writer = pa.ipc.new_file(out, table.schema)
            if any(pa.types.is_dictionary(field.type) for field in table.schema):
                categories = Categories(tables_with_rows(tables()))
        writer.write_table(categories.applied(table) if categories else table)
    if writer is not None:
        writer.close()


def _tables(parts: Sequence[Opener]) -> Iterator[Any]:
    for opener in parts:
        with opener() as part:
            schema, batches = open_batches(part)
            yield pa.Table.from_batches(list(batches), schema)


def _unsupported(error: Exception) -> str:
    """Return what to do about a type that pyarrow cannot read; it does not say in which column."""
    if "more than 64 bits" in str(error):
        return (
            "a column holds integers of more than 64 bits (Int128 of polars), which are not supported; "
            "write it as Int64, Decimal or String, or leave it out"
        )
    detail = f"this Arrow file holds something that is not supported: {str(error)[:200]}"
    return f"{detail}; write that column with another type, or the file without that option, or as Parquet"


def open_batches(file: BinaryIO, first: int = 0) -> tuple[Any, Iterator[Any]]:
    """Return the schema and the batches from number `first` on."""
    file.seek(0)
    is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    file.seek(0)
    if is_file:
        source = pa.ipc.open_file(file)
        return source.schema, (source.get_batch(number) for number in range(first, source.num_record_batches))
    stream = pa.ipc.open_stream(file)
    return stream.schema, (batch for number, batch in enumerate(stream) if number >= first)
