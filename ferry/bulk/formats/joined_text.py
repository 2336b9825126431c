"""Joined values as text: one form for each Arrow type, from which the value can be read back. Knows no file format.

Numbers, decimals: all their digits. Dates, times, timestamps: ISO 8601 with every digit of their unit, and the offset
of their zone; in UTC where this machine does not know the zone, or the year is not one of 0 to 9999. Text, UUIDs: as
they are. A category is its value. Types that are not in this list have no text form.
"""

from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.extensions import plain_extension

_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_TIMES = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp)
_LISTS = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view,
    pa.types.is_large_list_view,
)  # fmt: skip
_EXTENSIONS = (pa.JsonType, pa.UuidType, pa.Bool8Type)
# Years 0 to 9999 in seconds since 1970. What pyarrow writes for other years is wrong where there is a zone.
_YEARS_S = (-62_167_219_200, 253_402_300_799)
_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
# Of decimals with other scales pyarrow writes some with an exponent: 1.2E+3, 0E-8.
_PLAIN_SCALES = range(7)


def has_text(kind: Any) -> bool:
    """Say whether values of a type can be a cell of text."""
    if pa.types.is_dictionary(kind):
        return has_text(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return isinstance(kind, _EXTENSIONS)
    return pa.types.is_decimal(kind) or any(is_it(kind) for is_it in (*_NUMBERS, *_TEXTS, *_TIMES))


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
    array = plain_values(values)
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain_extension(array)
    if pa.types.is_decimal(kind):
        return array if kind.scale in _PLAIN_SCALES else decimal_texts(array)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moments(array)
    return array.cast(pa.string()) if pa.types.is_string_view(kind) or pa.types.is_time(kind) else array


def decimal_texts(array: Any) -> Any:
    """Return decimals as text with all their digits and no exponent."""
    if array.type.scale in _PLAIN_SCALES:
        return array.cast(pa.string())
    return pa.array([None if value is None else f"{value:f}" for value in array.to_pylist()], pa.string())


def plain_values(values: Any) -> Any:
    """Return the values as one array, categories as their values."""
    array = one_array(values)
    if not pa.types.is_dictionary(array.type):
        return array
    array = plain_categories(array)
    return plain_values(array.cast(array.type.value_type))


def plain_categories(array: Any) -> Any:
    """Return categories of text views as categories of text: pyarrow cannot cast, take or write the others."""
    if not (pa.types.is_dictionary(array.type) and pa.types.is_string_view(array.type.value_type)):
        return array
    texts = array.dictionary.cast(pa.string())
    return pa.DictionaryArray.from_arrays(array.indices, texts, ordered=array.type.ordered)


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
    """Return dates or timestamps as text, the offset of a zone as RFC 3339 has it (+01:00; pyarrow writes +0100)."""
    texts = _moments_of_pyarrow(array)
    has_zone = pa.types.is_timestamp(array.type) and array.type.tz
    return pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2") if has_zone else texts


def _moments_of_pyarrow(array: Any) -> Any:
    if pa.types.is_date(array.type):
        array = array.cast(pa.date32())
        unit, zone, counts = "D", "", array.cast(pa.int32()).cast(pa.int64())
        low, high = (end // _DAY_S for end in _YEARS_S)
    else:
        unit, zone, counts = array.type.unit, "Z" if array.type.tz else "", array.cast(pa.int64())
        low, high = (end * _PER_S[unit] for end in _YEARS_S)
        if not _knows_zone(array.type):
            array = array.cast(pa.timestamp(unit, "UTC"))
    if unit == "ns":  # all of its years are usual
        return array.cast(pa.string())
    is_usual = pc.and_(pc.greater_equal(counts, low), pc.less_equal(counts, high))
    if pc.all(is_usual, min_count=0).as_py() is not False:
        return array.cast(pa.string())
    moments = np.datetime_as_string(counts.fill_null(0).to_numpy().view(f"M8[{unit}]")).tolist()
    wide = pa.array([moment.replace("T", " ") + zone for moment in moments], pa.string())
    usual = pc.if_else(is_usual, array, pa.scalar(None, array.type)).cast(pa.string())
    return pc.if_else(is_usual, usual, wide)
