"""A part's outputs as an Arrow table: id, joined columns, label and score of a classifier, then the outputs.

Rows that failed are not in it; they are in the error file. Knows no file format.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.base import PartResult, Rules
from ferry.bulk.formats.ordering import good_positions, ordered, take_in_order
from ferry.errors import InvalidInputError
from ferry.json_outputs import top_labels
from ferry.manifest import TensorSpec

ID = "custom_id"


def check_names(rules: Rules) -> None:
    """Refuse joined columns that have the name of another column of the output.

    Raises:
        InvalidInputError: naming the column.
    """
    taken = [ID, *(["label", "score"] if has_labels(rules) else []), *(spec.name for spec in rules.manifest.outputs)]
    for name in rules.join:
        if name in taken:
            raise InvalidInputError(f"column {name[:40]!r} cannot be joined: the output has one of that name")


def has_labels(rules: Rules) -> bool:
    """Say whether the first output are scores of the manifest's labels."""
    return bool(rules.manifest.labels) and rules.manifest.outputs[0].inner_shape == (len(rules.manifest.labels),)


def to_table(result: PartResult, rules: Rules, *, flat: bool) -> Any:
    """Return the table; `flat` gives each element of a row a column of its own, and no lists."""
    positions = good_positions(result).tolist()
    columns: dict[str, Any] = {ID: pa.array([result.rows.ids[p] for p in positions], pa.string())}
    for name in rules.join:
        columns[name] = pa.array([result.rows.joined[name][p] for p in positions])
    if has_labels(rules):
        scores = ordered(result, 0, rules.manifest.outputs[0])
        columns["label"] = pa.array(top_labels(rules.manifest.labels, scores, single=False), pa.string())
        columns["score"] = _plain(scores.max(axis=1))
    for index, spec in enumerate(rules.manifest.outputs):
        columns |= _flat_columns(result, index, spec) if flat else {spec.name: _lists(result, index, spec)}
    return pa.table(columns)


def _plain(values: Any) -> Any:
    values = np.ascontiguousarray(values).reshape(-1)
    return pa.array(values.tolist(), pa.string()) if values.dtype == object else pa.array(values)


def _flat_columns(result: PartResult, index: int, spec: TensorSpec) -> dict[str, Any]:
    array = ordered(result, index, spec)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if not spec.inner_shape:
        return {spec.name: _plain(array)}
    table = array.reshape(len(array), math.prod(array.shape[1:]))
    return {f"{spec.name}_{number}": _plain(table[:, number]) for number in range(table.shape[1])}


def _lists(result: PartResult, index: int, spec: TensorSpec) -> Any:
    if None not in spec.inner_shape:
        array = ordered(result, index, spec)
        column = _plain(array)
        for size in reversed(array.shape[1:]):
            column = pa.FixedSizeListArray.from_arrays(column, size)
        return column
    parts = []
    for outputs in result.outputs:
        array = outputs[index].astype(spec.numpy_dtype, copy=False)
        column = _plain(array)
        for axis in range(array.ndim - 1, 0, -1):
            n_lists = math.prod(array.shape[:axis])
            offsets = np.arange(n_lists + 1, dtype=np.int32) * array.shape[axis]
            column = pa.ListArray.from_arrays(offsets, column)
        parts.append(column)
    return pa.concat_arrays(parts).take(pa.array(take_in_order(result))) if parts else pa.array([])
