"""The merge of Parquet and Arrow files: rows are tables, and keep their types."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ferry.bulk.formats import arrow, parquet
from ferry.bulk.formats.extensions import empty_table
from ferry.bulk.formats.joined_text import one_array
from ferry.bulk.formats.merging import Merge, Windows
from ferry.bulk.formats.table_output import tables_with_rows
from ferry.tensors import Array

# Rows of the earlier output that are held at a time.
WINDOW_ROWS = 65_536


class _Tables(Windows[Any]):
    def __init__(self, format_name: str) -> None:
        self._is_parquet = format_name == "parquet"

    def windows(self, file: BinaryIO) -> Iterator[Any]:
        if self._is_parquet:
            file.seek(0)
            source = pq.ParquetFile(file, pre_buffer=False)
            schema, batches = source.schema_arrow, source.iter_batches(batch_size=WINDOW_ROWS)
        else:
            schema, batches = arrow.open_batches(file)
        yield empty_table(schema)  # so that a file without rows has its columns
        for batch in batches:
            yield pa.Table.from_batches([batch])

    def count(self, rows: Any) -> int:
        return int(rows.num_rows)

    def part(self, rows: Any, start: int, end: int) -> Any:
        return rows.slice(start, end - start)

    def taken(self, pieces: Sequence[Any], order: Array) -> Any:
        whole = pa.concat_tables(tables_with_rows(pieces)).unify_dictionaries().combine_chunks()
        return pa.table([_reordered(column, order) for column in whole.columns], schema=whole.schema)


def merge_tables(format_name: str, merge: Merge, out: BinaryIO) -> None:
    """Write the merged file."""
    tables = partial(_Tables(format_name).merged, merge)
    (parquet if format_name == "parquet" else arrow).write_tables(tables, out)


def _reordered(column: Any, order: Array) -> Any:
    """Return a column's rows in an order; of types that pyarrow cannot take from, row by row."""
    try:
        return column.take(pa.array(order))
    except pa.ArrowNotImplementedError:
        whole = one_array(column)
        return pa.concat_arrays([whole.slice(place, 1) for place in order.tolist()])
