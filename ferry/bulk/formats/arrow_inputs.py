"""Arrow columns in types that arrays can be made of: no categories, no decimals, no bytes that pass for text."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from ferry.bulk.formats.columns import InputColumns
from ferry.bulk.formats.joined_text import is_list, is_text


def as_inputs(table: Any, columns: Sequence[InputColumns]) -> Any:
    """Return the table with its input columns in types that arrays can be made of: no categories, no decimals."""
    for column in columns:
        for name in column.names:
            held = made = table.column(name)
            if pa.types.is_primitive(held.type):
                continue
            if (kind := input_type(held.type)) != held.type:
                made = held.cast(input_type(held.type, pa.string())).cast(kind)
            if is_text(made.type) and not is_utf8(made):
                made = made.cast(pa.binary())  # of the rows, those whose bytes are no text fail alone
            if made is not held:
                table = table.set_column(table.schema.get_field_index(name), name, made)
    return table


def input_type(kind: Any, of_decimals: Any = None) -> Any:
    """Return the type that a column is cast to before arrays are made of it.

    Decimals become the nearest float64. They are cast to text first, for the direct way may miss it by one unit.
    """
    if pa.types.is_dictionary(kind):
        return input_type(kind.value_type, of_decimals)
    if pa.types.is_decimal(kind):
        return of_decimals or pa.float64()
    if pa.types.is_string_view(kind):
        return pa.string()
    if not is_list(kind):
        return kind
    inner = input_type(kind.value_type, of_decimals)
    if inner == kind.value_type and not pa.types.is_list_view(kind) and not pa.types.is_large_list_view(kind):
        return kind
    return pa.list_(inner, kind.list_size if pa.types.is_fixed_size_list(kind) else -1)


def is_utf8(column: Any) -> bool:
    """Say whether all of a column's text is UTF-8."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
