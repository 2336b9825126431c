"""Joined values as text: one form for each Arrow type, from which the value can be read back. Knows no file format.

Numbers, decimals: all their digits. Dates, times, timestamps: ISO 8601 with every digit of their unit, and the offset
of their zone. Text, UUIDs: as they are. A category is its value. Types that are not in this list have no text form.
"""

import base64
import math
from typing import Any

import numpy as np
import orjson
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_TIMES = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp)
_LISTS = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view,
    pa.types.is_large_list_view,
)  # fmt: skip
_EXTENSIONS = (pa.JsonType, pa.UuidType, pa.Bool8Type)
# What pyarrow writes for a date or timestamp whose year is beyond 32767.
_BEYOND = "<value out of range"


def has_text(kind: Any) -> bool:
    """Say whether values of a type can be a cell of text."""
    if pa.types.is_dictionary(kind):
        return has_text(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return isinstance(kind, _EXTENSIONS)
    if pa.types.is_timestamp(kind):
        return _knows_zone(kind)
    return pa.types.is_decimal(kind) or any(is_it(kind) for is_it in (*_NUMBERS, *_TEXTS, *_TIMES))


def has_json(kind: Any) -> bool:
    """Say whether values of a type can be a value of JSON: text, numbers, and lists and objects of those."""
    if is_list(kind):
        return has_json(kind.value_type)
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        return len(set(names)) == len(names) and all(has_json(field.type) for field in kind)
    return has_text(kind)


def is_list(kind: Any) -> bool:
    """Say whether a type is a list of any layout."""
    return any(is_it(kind) for is_it in _LISTS)


def is_text(kind: Any) -> bool:
    """Say whether a type is text, or a category of text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return isinstance(kind, pa.JsonType) or any(is_it(kind) for is_it in _TEXTS)


def to_cells(values: Any) -> Any:
    """Return values (an array, or one in chunks) as numbers, booleans or text, whichever a cell of their type is."""
    array = one_array(values)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return to_cells(array.cast(kind.value_type))
    if isinstance(kind, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    if isinstance(kind, pa.Bool8Type):
        return array.storage.cast(pa.bool_())
    if isinstance(kind, pa.JsonType):
        return array.storage
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moments(array)
    if pa.types.is_string_view(kind) or pa.types.is_time(kind):
        return array.cast(pa.string())
    return array


def json_values(values: Any) -> list[Any]:
    """Return a Python value for each row that `orjson` writes without changing it.

    JSON has no numbers for NaN and the infinities, so they are the texts NaN, Infinity and -Infinity. Types without a
    form in JSON, which only error lines hold: bytes as base64, a duration as the number of its units, others as
    Python shows them.
    """
    array = one_array(values)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return json_values(array.cast(kind.value_type))
    if isinstance(kind, pa.JsonType):
        return [None if text is None else orjson.Fragment(text) for text in array.storage.to_pylist()]
    if pa.types.is_floating(kind):
        return _floats(array)
    if is_list(kind):
        return _json_lists(array)
    if pa.types.is_struct(kind):
        return _json_objects(array)
    if not has_text(kind):
        return _shown(array)
    if pa.types.is_decimal(kind):
        return list(array.cast(pa.string()).to_pylist())
    cells = to_cells(array)
    if pa.types.is_timestamp(kind):
        cells = pc.replace_substring(cells, " ", "T", max_replacements=1)
    return list(cells.to_pylist())


def one_array(values: Any) -> Any:
    """Return the values as one array."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    if values.num_chunks == 1:
        return values.chunk(0)
    array = values.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def _knows_zone(kind: Any) -> bool:
    try:
        pa.array([0], pa.int64()).cast(kind).cast(pa.string())
    except pa.ArrowException:
        return False
    return True


def _moments(array: Any) -> Any:
    """Return dates or timestamps as text, of any year."""
    texts = array.cast(pa.string())
    if not pc.any(pc.starts_with(texts, _BEYOND)).as_py():
        return texts
    plain = array.cast(pa.timestamp(array.type.unit)) if pa.types.is_timestamp(array.type) else array.cast(pa.date32())
    counts = plain.cast(pa.int32() if pa.types.is_date32(plain.type) else pa.int64()).fill_null(0)
    unit = "D" if pa.types.is_date32(plain.type) else plain.type.unit
    moments = np.datetime_as_string(counts.to_numpy().astype(np.int64).view(f"M8[{unit}]")).tolist()
    zone = "Z" if pa.types.is_timestamp(array.type) and array.type.tz else ""
    wide = pa.array([each.replace("T", " ") + zone for each in moments], pa.string())
    # Years up to 32767 keep the form that they have beside their like.
    return pc.if_else(pc.starts_with(texts, _BEYOND), wide, texts)


def _floats(array: Any) -> list[Any]:
    if pa.types.is_float64(array.type):
        values = array.to_pylist()
    else:  # the shortest digits that mean the number in its own width
        values = [None if text is None else float(text) for text in array.cast(pa.string()).to_pylist()]
    if pc.all(pc.is_finite(array.cast(pa.float64())), min_count=0).as_py() is not False:
        return list(values)
    return [value if value is None or math.isfinite(value) else _not_finite(value) for value in values]


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json_lists(array: Any) -> list[Any]:
    sizes = pc.list_value_length(array).to_pylist()
    flat, found, at = json_values(array.flatten()), list[Any](), 0
    for size in sizes:
        found.append(None if size is None else flat[at : at + size])
        at += size or 0
    return found


def _json_objects(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [json_values(column) for column in array.flatten()]
    rows = zip(*columns, strict=True) if columns else (() for _ in range(len(array)))
    return [
        dict(zip(names, row, strict=True)) if is_there else None
        for row, is_there in zip(rows, array.is_valid().to_pylist(), strict=True)
    ]


def _shown(array: Any) -> list[Any]:
    if pa.types.is_duration(array.type):
        return list(array.cast(pa.int64()).to_pylist())
    if isinstance(array.type, pa.BaseExtensionType):
        return json_values(array.storage)
    return [_shown_value(value) for value in _python_values(array)]


def _python_values(array: Any) -> list[Any]:
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # nothing that Python has a value for
        return [str(value) for value in array]


def _shown_value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)
