"""Whether the columns of Parquet and Arrow can be a model's inputs: their names, types and depth. Knows no values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_inputs import input_type, rebuilt_type
from ferry.bulk.formats.base import Rules
from ferry.bulk.formats.casting import fit_shape, shape_text
from ferry.bulk.formats.columns import InputColumns, joined_names, map_columns
from ferry.bulk.formats.extensions import is_ambiguous, logical_shape
from ferry.bulk.formats.joined_text import is_list, is_text
from ferry.bulk.formats.pixels import takes_dtype
from ferry.errors import InvalidInputError


def check_schema(schema: Any, rules: Rules) -> list[InputColumns]:
    """Return which columns are which input.

    Of a model that runs whole jobs a column may hold a whole tensor in each row, the batch axis included: its lists
    are as deep as the tensor has axes. The column's spec then has no batch axis, so that a row is all of the tensor.

    Raises:
        InvalidInputError: columns that are missing, or of a dtype or depth that can never fit.
    """
    columns = map_columns(schema.names, rules, has_lists=True)
    for column in columns:
        for name in column.names:
            _check_type(column, name, schema.field(name).type)
    if not rules.manifest.is_batched:
        columns = _with_whole_jobs(columns, schema)
    for column in columns:
        _check_tensors(column, schema.field(column.names[0]).type)
    return columns


def _with_whole_jobs(columns: list[InputColumns], schema: Any) -> list[InputColumns]:
    with_rows = [column for column in columns if column.spec.batch_axis is not None]
    full = [
        column
        for column in with_rows
        if column.is_whole and _depth(schema.field(column.names[0]).type) == len(column.spec.shape)
    ]
    if not full:
        return columns
    if len(full) < len(with_rows):
        some = ", ".join(repr(column.spec.name) for column in full)
        raise InvalidInputError(f"only {some} have the batch axis in each row; give it to all inputs or to none")
    return [
        replace(column, spec=column.spec.model_copy(update={"batch_axis": None})) if column in full else column
        for column in columns
    ]


def _depth(kind: Any) -> int:
    """Return how deep lists nest in a row."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return len(kind.shape)
    return 1 + _depth(kind.value_type) if is_list(kind) else 0


def joined_types(schema: Any, columns: Sequence[InputColumns], rules: Rules) -> dict[str, Any]:
    """Return the type of each joined column, by name; `columns` are those of the model's inputs."""
    return {name: schema.field(name).type for name in joined_names(schema.names, columns, rules)}


def _check_type(column: InputColumns, name: str, kind: Any) -> None:
    spec, depth = column.spec, 0
    held = rebuilt_type(kind)
    if held is None:
        raise InvalidInputError(
            f"column {name[:40]!r} holds {str(kind)[:80]}, which no input takes; write it in the type of its storage"
        )
    while is_list(held):
        held, depth = held.value_type, depth + 1
    if depth and not column.is_whole:
        raise InvalidInputError(f"column {name[:40]!r} holds lists; expected one element of {spec.name!r}")
    element = input_type(held)
    if pa.types.is_null(element):  # missing values of any input
        return
    try:
        dtype = np.dtype(object) if is_text(element) else np.dtype(element.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype("V1")
    if not takes_dtype(column, dtype):
        raise InvalidInputError(f"column {name[:40]!r} holds {held}, input {spec.name!r} takes {spec.dtype}")
    if column.is_whole and not depth and len(spec.inner_shape) and None in spec.inner_shape:
        raise InvalidInputError(f"column {name[:40]!r} holds no lists; expected rows of shape {shape_text(spec)}")


def _check_tensors(column: InputColumns, kind: Any) -> None:
    """Refuse tensors whose shape, which is that of every row, does not fit, or whose order of axes is not certain."""
    if not isinstance(kind, pa.FixedShapeTensorType):
        return
    where = f"column {column.names[0][:40]!r}"
    if is_ambiguous(kind):
        raise InvalidInputError(
            f"{where}: tools read the permutation {list(kind.permutation)} of its tensors in two ways; write them "
            "without one (numpy.ascontiguousarray)"
        )
    if fit_shape(column.spec, logical_shape(kind)) is None:
        shape = f"({', '.join(map(str, logical_shape(kind)))})"
        raise InvalidInputError(f"{where}: a row of shape {shape}, expected {shape_text(column.spec)}")
