"""A part's outputs as an Arrow table: id, joined columns, label and score of a classifier, then the outputs.

Rows that failed are not in it; they are in the error file. Knows no file format.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.base import PartResult, Rules
from ferry.bulk.formats.ordering import OutputRows
from ferry.bulk.formats.sequences import NumberNames
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.tensors import Array

ID = "custom_id"


def check_names(rules: Rules) -> None:
    """Refuse joined columns that have the name of another column of the output.

    Raises:
        InvalidInputError: naming the column.
    """
    if rules.joins_all:
        return
    for name in rules.join:
        if name in _own_names(rules):
            raise InvalidInputError(f"column {name[:40]!r} cannot be joined: the output has one of that name")


def _own_names(rules: Rules) -> set[str]:
    return {ID, *(["label", "score"] if has_labels(rules) else []), *(spec.name for spec in rules.manifest.outputs)}


def _free_name(name: str, rules: Rules) -> str:
    """Return a joined column's name; where nobody named it and the output has one of that name: input_{name}."""
    if not rules.joins_all:
        return name
    fixed = [spec for spec in rules.manifest.outputs if None not in spec.inner_shape]
    flat = {f"{spec.name}_{n}" for spec in fixed for n in range(math.prod(size or 0 for size in spec.inner_shape))}
    while name in flat | _own_names(rules):
        name = f"input_{name}"
    return name


def has_labels(rules: Rules) -> bool:
    """Say whether the output that the labels are for has one score for each of them."""
    labels, scores = rules.manifest.labels, rules.manifest.outputs[rules.manifest.labels_index]
    return bool(labels) and not scores.is_string and scores.inner_shape == (len(labels),)


def to_table(result: PartResult, rules: Rules, *, flat: bool) -> Any:
    """Return the table; `flat` gives each element of a row a column of its own, and no lists."""
    rows = OutputRows(result)
    columns: dict[str, Any] = {ID: _ids(result.rows.ids, rows.positions)}
    for name, values in result.rows.joined.items():
        columns[_free_name(name, rules)] = _picked(values, rows.positions)
    if has_labels(rules):
        index = rules.manifest.labels_index
        scores = rows.output(index, rules.manifest.outputs[index])
        columns["label"] = _labels(rules.manifest.labels, scores)
        columns["score"] = _plain(scores.max(axis=1))
    for index, spec in enumerate(rules.manifest.outputs):
        columns |= (
            _flat_columns(rows.output(index, spec), spec) if flat else {spec.name: _lists(result, rows, index, spec)}
        )
    return pa.table(columns)


def _ids(ids: Sequence[str], positions: Array) -> Any:
    if isinstance(ids, NumberNames):
        return pa.array(positions + ids.numbers.start).cast(pa.string())
    return _picked(ids, positions, pa.string())


def _picked(values: Sequence[Any], positions: Array, kind: Any = None) -> Any:
    """Return the values of rows in order; those of all rows are not picked one by one."""
    if np.array_equal(positions, np.arange(len(values))):
        return pa.array(values, kind)
    return pa.array([values[position] for position in positions.tolist()], kind)


def _labels(labels: Sequence[str], scores: Array) -> Any:
    """Return the label of each row's highest score, null where one is NaN. scores: (rows, labels)."""
    best = scores.argmax(axis=1)  # the first NaN where there is one: numpy has it above every number
    highest = np.take_along_axis(scores, best[:, np.newaxis], axis=1)[:, 0]
    is_nan = np.isnan(highest) if scores.dtype.kind == "f" else None
    return pa.array(labels, pa.string()).take(pa.array(best, mask=is_nan))


def _plain(values: Any) -> Any:
    values = np.ascontiguousarray(values).reshape(-1)
    return pa.array(values.tolist(), pa.string()) if values.dtype == object else pa.array(values)


def _flat_columns(array: Array, spec: TensorSpec) -> dict[str, Any]:
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if not spec.inner_shape:
        return {spec.name: _plain(array)}
    table = array.reshape(len(array), math.prod(array.shape[1:]))
    return {f"{spec.name}_{number}": _plain(table[:, number]) for number in range(table.shape[1])}


def _lists(result: PartResult, rows: OutputRows, index: int, spec: TensorSpec) -> Any:
    if None not in spec.inner_shape:
        array = rows.output(index, spec)
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
    if not parts:
        return pa.array([])
    column = pa.concat_arrays(parts)
    return column if rows.taken is None else column.take(pa.array(rows.taken))
