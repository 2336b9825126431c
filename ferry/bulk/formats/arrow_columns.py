"""Arrow columns to a chunk's rows: lists and scalars of one shape in one conversion, the rest row by row."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.arrow_inputs import as_inputs, is_utf8
from ferry.bulk.formats.base import Chunk, ChunkRows, Group, RowFault, Rules, good_rows, input_fault, numbered
from ferry.bulk.formats.casting import fit_shape, shape_text
from ferry.bulk.formats.columns import InputColumns, joined_names
from ferry.bulk.formats.joined_text import is_list, is_text
from ferry.bulk.formats.pixels import cast_column, takes_dtype
from ferry.bulk.formats.sequences import Repeated
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.tensors import Array


@dataclass(frozen=True, slots=True)
class _Elements:
    """Elements of one input, and where the file has none: a null, for which `values` has something harmless."""

    values: Array
    missing: Array | None

    def reshape(self, shape: tuple[int, ...]) -> "_Elements":
        return _Elements(self.values.reshape(shape), None if self.missing is None else self.missing.reshape(shape))

    @classmethod
    def side_by_side(cls, columns: Sequence["_Elements"]) -> "_Elements":
        """Return columns of one element a row, each (N,), as (N, columns)."""
        values: Array = np.stack([column.values for column in columns], axis=1)
        if all(column.missing is None for column in columns):
            return cls(values, None)
        missing = [np.zeros(len(values), bool) if c.missing is None else c.missing for c in columns]
        return cls(values, np.stack(missing, axis=1))


# A model's batch does not go beyond a piece, so a piece holds many, and of most sizes a whole number.
PIECE_ROWS = 1024


def read_table(table: Any, chunk: Chunk, columns: Sequence[InputColumns], rules: Rules) -> ChunkRows:
    """Return a chunk's rows from a table of exactly them; `columns` are those of the model's inputs.

    Raises:
        InvalidInputError: a joined column holds text that is not UTF-8.
    """
    names, numbers = numbered(chunk.first, chunk.rows)
    joined = {name: _joined(table, name) for name in joined_names(table.schema.names, columns, rules)}
    table = as_inputs(table, columns)
    found: list[Group] = []
    faults: list[RowFault] = []
    first = 0
    for piece in _pieces(table):
        together = [elements for column in columns if (elements := _together(piece, column)) is not None]
        if len(together) < len(columns):
            break
        group, wrong = _cast(together, columns, first, rules)
        found.append(group)
        faults += wrong
        first += piece.num_rows
    else:
        return ChunkRows(names, numbers, _as_jobs(found, columns, rules), tuple(faults), joined)
    groups, faults = _row_by_row(table, columns, rules)
    return ChunkRows(names, numbers, _as_jobs(groups, columns, rules), tuple(faults), joined)


def _as_jobs(groups: Sequence[Group], columns: Sequence[InputColumns], rules: Rules) -> tuple[Group, ...]:
    """Return the groups; where a row is a whole job (see `check_schema`), marked as having their batch axis."""
    if rules.manifest.is_batched or any(column.spec.batch_axis is not None for column in columns):
        return tuple(groups)
    return tuple(replace(group, singles=Repeated(value=False, size=len(group.positions))) for group in groups)


def _joined(table: Any, name: str) -> Any:
    column = table.column(name)
    if is_text(column.type) and not is_utf8(column):
        raise InvalidInputError(
            f"column {name[:40]!r} holds text that is not UTF-8; leave it out of `join`, or mend it"
        )
    return column


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
    inputs: Sequence[_Elements], columns: Sequence[InputColumns], first: int, rules: Rules
) -> tuple[Group, list[RowFault]]:
    """Return rows of one shape, from position `first` of the chunk on, as the model takes them."""
    fitting, bad = [], {}
    for column, elements in zip(columns, inputs, strict=True):
        cast, wrong = cast_column(column, elements.values, elements.missing)
        fitting.append(cast)
        bad.update({row: (column.spec.name, why) for row, why in wrong.items()})
    return good_rows(fitting, bad, rules, first=first)


def _together(table: Any, column: InputColumns) -> _Elements | None:
    """Return a whole input's rows, of shape (N, *inner); None where some row differs in shape or a list is null."""
    spec, n_rows = column.spec, table.num_rows
    if not column.is_whole:
        parts = [part for name in column.names if (part := _flat(table.column(name), spec)) is not None]
        if len(parts) < len(column.names):
            return None
        exact = _same_integers(parts) if spec.numpy_dtype.kind in "iu" else parts
        if exact is None:
            return None
        stacked = _Elements.side_by_side(exact)
        if column.pixels:
            return stacked
        return stacked.reshape((n_rows, *(size or 0 for size in spec.inner_shape)))
    flat = _flat(table.column(column.names[0]), spec)
    inner = None if flat is None else fit_shape(spec, flat.values.shape[1:])
    return None if flat is None or inner is None else flat.reshape((n_rows, *inner))


def _same_integers(parts: Sequence[_Elements]) -> Sequence[_Elements] | None:
    """Return columns of whole numbers in dtypes that go into one array exactly; None where there is no such dtype.

    numpy makes float64 of int64 beside uint64.
    """
    if all(part.values.dtype.kind == "u" for part in parts) or all(part.values.dtype != np.uint64 for part in parts):
        return parts
    largest = np.iinfo(np.int64).max
    if any((part.values > largest).any() for part in parts if part.values.dtype == np.uint64):
        return None
    return [_Elements(part.values.astype(np.int64), part.missing) for part in parts]


def _flat(column: Any, spec: TensorSpec) -> _Elements | None:
    """Return a column's elements, of shape (N, *sizes of its lists); None where lists differ in size or are null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # nothing in it, or more than fits one array
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    n_rows, shape = len(array), list[int]()
    while is_list(array.type):
        if array.null_count:
            return None
        if pa.types.is_fixed_size_list(array.type):
            shape.append(array.type.list_size)
            array = array.flatten()
            continue
        sizes = np.unique(np.asarray(array.value_lengths()))
        if len(sizes) != 1:
            return None
        shape.append(int(sizes[0]))
        array = array.flatten()
    return _elements(array, spec).reshape((n_rows, *shape))


def _elements(array: Any, spec: TensorSpec) -> _Elements:
    """Return the elements of an array without lists. Shape: (n,)."""
    missing: Array | None = None
    if array.null_count:
        missing = np.asarray(array.is_null())
        if not pa.types.is_floating(array.type):  # which has NaN at a null
            array = array.fill_null(_blank(array.type))
    values: Array = array.to_numpy(zero_copy_only=False)
    return _Elements(values.astype(object) if spec.is_string else values, missing)


def _blank(kind: Any) -> bool | int | str | bytes:
    """Return something harmless for a null of a type."""
    if is_text(kind):
        return ""
    if pa.types.is_binary(kind):
        return b""
    return False if pa.types.is_boolean(kind) else 0


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
    missing = None
    if _has_null(value):
        if value is None and math.prod(size or 0 for size in spec.inner_shape) != 1:
            raise InvalidInputError.at(
                spec.name, f"a null instead of a list; expected rows of shape {shape_text(spec)}"
            )
        value, missing = _part_nulls(value, "" if spec.is_string else spec.dtype != "bool" and 0)
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
    parted = None if missing is None else np.array(missing, dtype=bool).reshape((1, *shape))
    cast, bad = cast_column(column, array.reshape((1, *shape)), parted)
    if bad:
        raise InvalidInputError.at(spec.name, bad[0])
    return cast


def _part_nulls(value: Any, blank: Any) -> tuple[Any, Any]:
    """Return nested lists with `blank` for each null, and the same lists with whether there was a null."""
    if isinstance(value, list):
        parts = [_part_nulls(item, blank) for item in value]
        return [item for item, _ in parts], [is_null for _, is_null in parts]
    return (blank, True) if value is None else (value, False)


def _has_null(value: Any) -> bool:
    return any(map(_has_null, value)) if isinstance(value, list) else value is None
