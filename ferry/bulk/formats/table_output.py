"""A part's outputs as an Arrow table: id, joined columns, label and score of a classifier, then the outputs.

Rows that failed are not in it, they are in the error file; with `errors: inline` they are in both. Knows no file
format.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.base import PartResult, Rules
from ferry.bulk.formats.error_lines import ERROR_COLUMN
from ferry.bulk.formats.joined_text import one_array
from ferry.bulk.formats.ordering import OutputRows
from ferry.bulk.formats.placed_rows import PlacedRows
from ferry.bulk.formats.sequences import NumberNames
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.tensors import Array

ID = "custom_id"


def joined_names(joined: Iterable[str], rules: Rules, *, flat: bool) -> dict[str, str]:
    """Return the name that each joined column has in the output.

    It is the column's own. Where the output has a column of that name, or another joined column has, it is
    `input_` and the name; `label` becomes `input_label`.
    """
    own = _own_names(rules, flat=flat)
    taken = own | {name for name in joined if name not in own}
    names = {}
    for name in joined:
        free = name
        if name in own:
            while free in taken:
                free = f"input_{free}"
            taken.add(free)
        names[name] = free
    return names


def _own_names(rules: Rules, *, flat: bool) -> set[str]:
    """Return the names of the output's columns that are not joined; `flat`: as in `to_table`."""
    names = {ID, *(["label", "score"] if has_labels(rules) else [])}
    if rules.errors_inline:
        names.add(ERROR_COLUMN)
    for spec in rules.manifest.outputs:
        if flat and spec.inner_shape and None not in spec.inner_shape:
            names |= {f"{spec.name}_{number}" for number in range(math.prod(size or 0 for size in spec.inner_shape))}
        else:
            names.add(spec.name)
    return names


def has_labels(rules: Rules) -> bool:
    """Say whether the output that the labels are for has one score for each of them."""
    labels, scores = rules.manifest.labels, rules.manifest.outputs[rules.manifest.labels_index]
    return bool(labels) and not scores.is_string and scores.inner_shape == (len(labels),)


def to_table(result: PartResult, rules: Rules, *, flat: bool) -> Any:
    """Return the table; `flat` gives each element of a row a column of its own, and no lists."""
    rows = OutputRows(result)
    placed = PlacedRows(result, rows) if rules.errors_inline else None
    positions = placed.positions if placed else rows.positions
    columns: dict[str, Any] = {ID: _ids(result.rows.ids, positions)}
    names = joined_names(result.rows.joined, rules, flat=flat)
    for name, values in result.rows.joined.items():
        columns[names[name]] = picked(values, positions)
    outputs = _output_columns(result, rules, rows, flat=flat)
    return pa.table(columns | (placed.spread(outputs) if placed else outputs))


def _output_columns(result: PartResult, rules: Rules, rows: OutputRows, *, flat: bool) -> dict[str, Any]:
    """Return label, score and the outputs of the rows that have them."""
    columns: dict[str, Any] = {}
    is_whole, index = has_whole_jobs(result, rules), rules.manifest.labels_index
    if has_labels(rules) and not (is_whole and rules.manifest.outputs[index].batch_axis is not None):
        scores = rows.output(index, rules.manifest.outputs[index])
        columns["label"] = _labels(rules.manifest.labels, scores)
        columns["score"] = _plain(scores.max(axis=1))
    for index, spec in enumerate(rules.manifest.outputs):
        shape = spec.shape if is_whole else spec.inner_shape
        columns |= (
            _flat_columns(rows.output(index, spec), spec)
            if flat
            else {spec.name: _lists(result, rows, index, spec, shape)}
        )
    return columns


def has_whole_jobs(result: PartResult, rules: Rules) -> bool:
    """Say whether each row of the output is the answer to a whole job, with the batch axis in it."""
    return not rules.manifest.is_batched and any(not all(group.singles) for group in result.rows.groups)


def tables_with_rows(tables: Iterable[Any]) -> Iterator[Any]:
    """Yield the parts that have rows; where none has, the first. Columns of a part without rows need not be all there.

    Raises:
        InvalidInputError: the columns of two parts differ.
    """
    schema = empty = None
    for table in tables:
        if not table.num_rows:
            empty = table if empty is None else empty
            continue
        if schema is None:
            schema = table.schema
        elif not table.schema.equals(schema):
            raise InvalidInputError(f"{_difference(schema, table.schema)}; ask for jsonl")
        yield table
    if schema is None and empty is not None:
        yield empty


def _difference(one: Any, other: Any) -> str:
    if one.names != other.names:
        return f"rows of the output differ in their columns: {one.names[:8]} and {other.names[:8]}"
    name = next(name for name in one.names if one.field(name).type != other.field(name).type)
    return (
        f"column {name[:40]!r} of the output is {one.field(name).type} in some rows, {other.field(name).type} in others"
    )


def _ids(ids: Sequence[str], positions: Array) -> Any:
    if isinstance(ids, NumberNames):
        return pa.array(positions + ids.numbers.start).cast(pa.string())
    return picked(pa.array(ids, pa.string()), positions)


def picked(values: Any, positions: Array) -> Any:
    """Return the values (an array, or one in chunks) of rows in order; those of all rows are not copied.

    Shape: positions int64 (rows), ascending.
    """
    if len(positions) == len(values) and np.array_equal(positions, np.arange(len(values))):
        return values
    try:
        return values.take(pa.array(positions))
    except pa.ArrowNotImplementedError:  # of views and run-end encoded values pyarrow takes only what is consecutive
        ends = np.flatnonzero(np.diff(positions) != 1) + 1
        runs = np.split(positions, ends) if len(positions) else []
        whole = one_array(values)
        return pa.concat_arrays([whole.slice(int(run[0]), len(run)) for run in runs] or [whole.slice(0, 0)])


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


def _lists(result: PartResult, rows: OutputRows, index: int, spec: TensorSpec, shape: Sequence[int | None]) -> Any:
    """Return an output with a list in each row, or lists in lists; `shape`: of a row, None for any size."""
    if None not in shape:
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
        kind = pa.string() if spec.is_string else pa.from_numpy_dtype(spec.numpy_dtype)
        for _ in shape:
            kind = pa.list_(kind)
        return pa.array([], kind)
    column = pa.concat_arrays(parts)
    return column if rows.taken is None else column.take(pa.array(rows.taken))
