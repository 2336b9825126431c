"""Arrow columns in types that arrays can be made of: no categories, decimals, views, or bytes that pass for text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.columns import InputColumns
from ferry.bulk.formats.joined_text import is_list, is_text, plain_categories
from ferry.manifest import TensorSpec


def as_inputs(table: Any, columns: Sequence[InputColumns]) -> Any:
    """Return the table with its input columns in types that arrays can be made of: no categories, no decimals."""
    for column in columns:
        for name in column.names:
            held = made = table.column(name)
            if pa.types.is_primitive(held.type):
                continue
            if _has_views(held.type):
                made = pa.chunked_array([_without_views(chunk) for chunk in held.chunks])
            nulls = _type_of_nulls(column.spec)
            if (kind := input_type(made.type, nulls)) != made.type:
                made = made.cast(input_type(made.type, nulls, pa.string())).cast(kind)
            if is_text(made.type) and not is_utf8(made):
                made = made.cast(pa.binary())  # of the rows, those whose bytes are no text fail alone
            if made is not held:
                table = table.set_column(table.schema.get_field_index(name), name, made)
    return table


def input_type(kind: Any, of_nulls: Any = None, of_decimals: Any = None) -> Any:
    """Return the type that a column without views is cast to before arrays are made of it.

    A column of the type null holds nothing but nulls; where `of_nulls` is a type, they are cast to it.
    Decimals become the nearest float64. They are cast to text first, for the direct way may miss it by one unit.
    """
    if pa.types.is_dictionary(kind):
        return input_type(kind.value_type, of_nulls, of_decimals)
    if pa.types.is_decimal(kind):
        return of_decimals or pa.float64()
    if pa.types.is_string_view(kind):
        return pa.string()
    if not is_list(kind):
        return of_nulls if of_nulls and pa.types.is_null(kind) else kind
    inner = input_type(kind.value_type, of_nulls, of_decimals)
    if inner == kind.value_type:
        return kind
    return pa.list_(inner, kind.list_size if pa.types.is_fixed_size_list(kind) else -1)


def _type_of_nulls(spec: TensorSpec) -> Any:
    """Return a type whose nulls are missing values of an input; beside other columns it changes no number."""
    if spec.is_string:
        return pa.string()
    return pa.bool_() if spec.dtype == "bool" else pa.uint8()


def _has_views(kind: Any) -> bool:
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return True
    if is_list(kind):
        return _has_views(kind.value_type)
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type))


def _without_views(array: Any) -> Any:
    """Return lists of views as large lists with the same values. pyarrow's cast takes their offsets for a list's."""
    if not _has_views(array.type):
        return array
    if not is_list(array.type):
        return plain_categories(array)
    sizes = np.asarray(pc.list_value_length(array).fill_null(0), np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), _without_views(array.flatten()), mask=array.is_null() if array.null_count else None
    )


def is_utf8(column: Any) -> bool:
    """Say whether all of a column's text is UTF-8."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
