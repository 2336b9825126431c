"""Arrow columns in types that arrays can be made of.

They have no categories, decimals, views, extensions, or bytes that pass for text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.columns import InputColumns
from ferry.bulk.formats.extensions import plain_extension, plain_type
from ferry.bulk.formats.joined_text import is_list, is_text, plain_categories
from ferry.manifest import TensorSpec


def as_inputs(table: Any, columns: Sequence[InputColumns]) -> Any:
    """Return the table with its input columns in types that arrays can be made of: no categories, no decimals."""
    for column in columns:
        for name in column.names:
            held = made = table.column(name)
            if pa.types.is_primitive(held.type):
                continue
            if _is_rebuilt(held.type):
                made = pa.chunked_array([_rebuilt(chunk) for chunk in held.chunks], rebuilt_type(held.type))
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


def rebuilt_type(kind: Any) -> Any:
    """Return the type of a column after views of lists and extensions are taken away; None for an unknown extension."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind)
    if is_list(kind) and _is_rebuilt(kind):
        inner = rebuilt_type(kind.value_type)
        return None if inner is None else pa.large_list(inner)
    return pa.dictionary(kind.index_type, pa.string(), kind.ordered) if _is_rebuilt(kind) else kind


def _is_rebuilt(kind: Any) -> bool:
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return True
    if is_list(kind):
        return _is_rebuilt(kind.value_type)
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type))


def _rebuilt(array: Any) -> Any:
    """Return an array of its `rebuilt_type`. pyarrow's cast takes the offsets of views for a list's."""
    if isinstance(array.type, pa.BaseExtensionType):
        return plain_extension(array)
    if not _is_rebuilt(array.type):
        return array
    if not is_list(array.type):
        return plain_categories(array)
    sizes = np.asarray(pc.list_value_length(array).fill_null(0), np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), _rebuilt(array.flatten()), mask=array.is_null() if array.null_count else None
    )


def is_utf8(column: Any) -> bool:
    """Say whether all of a column's text is UTF-8."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
