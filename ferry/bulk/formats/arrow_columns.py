"""Arrow columns to a chunk's rows: lists and scalars of one shape in one conversion, the rest row by row."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.base import Chunk, ChunkRows, Group, RowFault, Rules, good_rows, input_fault, numbered
from ferry.bulk.formats.casting import fit_shape, shape_text
from ferry.bulk.formats.columns import InputColumns, joined_names, map_columns
from ferry.bulk.formats.pixels import cast_column, takes_dtype
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.tensors import Array

# A model's batch does not go beyond a piece, so a piece holds many, and of most sizes a whole number.
PIECE_ROWS = 1024


def check_schema(schema: Any, rules: Rules) -> list[InputColumns]:
    """Return which columns are which input.

    Raises:
        InvalidInputError: columns that are missing, or of a dtype or depth that can never fit.
    """
    columns = map_columns(schema.names, rules, has_lists=True)
    for column in columns:
        for name in column.names:
            _check_type(column, name, schema.field(name).type)
    return columns


def _check_type(column: InputColumns, name: str, kind: Any) -> None:
    spec, depth = column.spec, 0
    element = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    while _is_list(element):
        element, depth = element.value_type, depth + 1
    if depth and not column.is_whole:
        raise InvalidInputError(f"column {name[:40]!r} holds lists; expected one element of {spec.name!r}")
    try:
        dtype = np.dtype(object) if _is_text(element) else np.dtype(element.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype("V1")
    if not takes_dtype(column, dtype):
        raise InvalidInputError(f"column {name[:40]!r} holds {element}, input {spec.name!r} takes {spec.dtype}")
    if column.is_whole and not depth and len(spec.inner_shape) and None in spec.inner_shape:
        raise InvalidInputError(f"column {name[:40]!r} holds no lists; expected rows of shape {shape_text(spec)}")


def read_table(table: Any, chunk: Chunk, columns: Sequence[InputColumns], rules: Rules) -> ChunkRows:
    """Return a chunk's rows from a table of exactly them; `columns` are those of the model's inputs."""
    names, numbers = numbered(chunk.first, chunk.rows)
    joined = {name: table.column(name).to_pylist() for name in joined_names(table.schema.names, columns, rules)}
    found: list[Group] = []
    faults: list[RowFault] = []
    first = 0
    for piece in _pieces(table):
        together = [array for column in columns if (array := _together(piece, column)) is not None]
        if len(together) < len(columns):
            break
        group, wrong = _cast(together, columns, first, rules)
        found.append(group)
        faults += wrong
        first += piece.num_rows
    else:
        return ChunkRows(names, numbers, tuple(found), tuple(faults), joined)
    groups, faults = _row_by_row(table, columns, rules)
    return ChunkRows(names, numbers, groups, tuple(faults), joined)


def _pieces(table: Any) -> Iterator[Any]:
    """Yield a table's rows as they were read, so that none is copied; small record batches are put together."""
    batches: list[Any] = []
    n_rows = 0
    for batch in table.to_batches():
        batches.append(batch)
        n_rows += batch.num_rows
        if n_rows >= PIECE_ROWS:
            yield pa.Table.from_batches(batches)
            batches, n_rows = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _cast(
    arrays: Sequence[Array], columns: Sequence[InputColumns], first: int, rules: Rules
) -> tuple[Group, list[RowFault]]:
    """Return rows of one shape, from position `first` of the chunk on, as the model takes them."""
    fitting, bad = [], {}
    for column, array in zip(columns, arrays, strict=True):
        cast, wrong = cast_column(column, array)
        fitting.append(cast)
        bad.update({row: (column.spec.name, why) for row, why in wrong.items()})
    return good_rows(fitting, bad, rules, first=first)


def _together(table: Any, column: InputColumns) -> Array | None:
    """Return a whole input's rows (N, *inner); None where some row differs in shape or has a null."""
    if not column.is_whole:
        parts = [_flat(table.column(name), column.spec) for name in column.names]
        if any(part is None for part in parts):
            return None
        stacked: Array = np.stack([part[0] for part in parts if part is not None], axis=1)
        if column.pixels:
            return stacked
        return stacked.reshape((table.num_rows, *(size or 0 for size in column.spec.inner_shape)))
    flat = _flat(table.column(column.names[0]), column.spec)
    if flat is None:
        return None
    shape = fit_shape(column.spec, flat[1])
    return None if shape is None else flat[0].reshape((table.num_rows, *shape))


def _flat(column: Any, spec: TensorSpec) -> tuple[Array, tuple[int, ...]] | None:
    """Return a column's elements in order and the sizes of its lists; None where they are of several sizes or null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # nothing in it, or more than fits one array
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    shape: list[int] = []
    if isinstance(array.type, pa.FixedShapeTensorType):
        shape, array = [], array.storage
        tensor = list(column.type.shape)
        return None if array.null_count else (array.flatten().to_numpy(zero_copy_only=False), tuple(tensor))
    while _is_list(array.type):
        if array.null_count:
            return None
        sizes = np.unique(np.asarray(array.value_lengths()))
        if len(sizes) != 1:
            return None
        shape.append(int(sizes[0]))
        array = array.flatten()
    if array.null_count:
        return None
    elements: Array = array.to_numpy(zero_copy_only=False)
    return (elements.astype(object) if spec.is_string else elements), tuple(shape)


def _row_by_row(table: Any, columns: Sequence[InputColumns], rules: Rules) -> tuple[tuple[Group, ...], list[RowFault]]:
    values = {name: table.column(name).to_pylist() for column in columns for name in column.names}
    faults: list[RowFault] = []
    same: dict[tuple[tuple[int, ...], ...], list[tuple[int, list[Array]]]] = {}
    for row in range(table.num_rows):
        try:
            arrays = [_one_row(column, [values[name][row] for name in column.names]) for column in columns]
        except InvalidInputError as error:
            faults.append(input_fault(row, error, rules))
            continue
        same.setdefault(tuple(array.shape[1:] for array in arrays), []).append((row, arrays))
    groups = [
        Group.plain([row for row, _ in rows], [np.concatenate(p) for p in zip(*(a for _, a in rows), strict=True)])
        for rows in same.values()
    ]
    return tuple(groups), faults


def _one_row(column: InputColumns, values: list[Any]) -> Array:
    spec = column.spec
    value = values[0] if column.is_whole else values
    if _has_null(value):
        raise InvalidInputError.at(spec.name, f"input {spec.name!r} has a null")
    try:
        array = np.array(value, dtype=object if spec.is_string else None)
    except ValueError:
        raise InvalidInputError.at(spec.name, f"ragged: lists of {spec.name!r} differ in size") from None
    shape = array.shape if column.pixels else fit_shape(spec, array.shape)
    if shape is None:
        raise InvalidInputError.at(spec.name, f"a row of shape {array.shape}, expected {shape_text(spec)}")
    if array.size == 0:
        array = array.astype(spec.numpy_dtype)
    if not takes_dtype(column, array.dtype):
        raise InvalidInputError.at(spec.name, f"expected {spec.dtype}, got {array.dtype}")
    cast, bad = cast_column(column, array.reshape((1, *shape)))
    if bad:
        raise InvalidInputError.at(spec.name, bad[0])
    return cast


def _has_null(value: Any) -> bool:
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
