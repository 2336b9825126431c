"""`errors: inline` in tables: a row that failed keeps its place, with null outputs and the reason. Knows no format."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.base import PartResult
from ferry.bulk.formats.error_lines import ERROR_COLUMN
from ferry.bulk.formats.ordering import OutputRows
from ferry.tensors import Array


class PlacedRows:
    """The rows of a table, those that failed among the others.

    Shape: positions int64 (rows), ascending; failed bool (rows).
    """

    def __init__(self, result: PartResult, rows: OutputRows) -> None:
        self.failed: Array = rows.failed()
        self.positions: Array = np.sort(np.concatenate([rows.positions, rows.faulty]))
        by_position = {fault.position: f"{fault.code}: {fault.message}" for fault in result.all_faults()}
        self._texts = [by_position[position] for position in rows.faulty.tolist()]

    def spread(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of the rows that have output with a null for each row that failed, and why it did."""
        places = np.cumsum(~self.failed) - 1
        spread = pa.table(dict(columns)).take(pa.array(places, pa.int64(), mask=self.failed))
        texts = iter(self._texts)
        errors = pa.array([next(texts) if is_failed else None for is_failed in self.failed.tolist()], pa.string())
        return {**dict(zip(spread.column_names, spread.columns, strict=True)), ERROR_COLUMN: errors}
