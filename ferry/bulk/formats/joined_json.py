"""Joined values as Python values that `orjson` writes without changing them: lists and objects too, else as text.

JSON has no numbers for NaN and the infinities, so they are the texts NaN, Infinity and -Infinity. A few types have no
form in JSON, and only error lines hold them: bytes as base64, a duration as the number of its units, others as Python
shows them.
"""

import base64
import math
from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.extensions import plain_extension
from ferry.bulk.formats.joined_text import decimal_texts, has_text, is_list, plain_values, to_cells


def has_json(kind: Any) -> bool:
    """Say whether values of a type can be a value of JSON: text, numbers, and lists and objects of those."""
    if is_list(kind):
        return has_json(kind.value_type)
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        return len(set(names)) == len(names) and all(has_json(field.type) for field in kind)
    return has_text(kind)


def json_values(values: Any) -> list[Any]:
    """Return a value for each row of an array, or of one in chunks."""
    array = plain_values(values)
    if not has_text(array.type) and not is_list(array.type) and not pa.types.is_struct(array.type):
        return _shown(array)
    for is_it, convert in _CONVERT:
        if is_it(array.type):
            return convert(array)
    return list(to_cells(array).to_pylist())


def _is_json_text(kind: Any) -> bool:
    return isinstance(kind, pa.JsonType)


def _as_written(array: Any) -> list[Any]:
    return [None if text is None else _in_one_line(text) for text in array.storage.to_pylist()]


def _in_one_line(text: str) -> Any:
    """Return JSON text as it is written, but for line breaks; what is no JSON stays text."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    # Inside of JSON's texts there is no line break.
    return orjson.Fragment(text.replace("\n", " ").replace("\r", " "))


def _digits(array: Any) -> list[Any]:
    return list(decimal_texts(array).to_pylist())


def _moments(array: Any) -> list[Any]:
    return list(pc.replace_substring(to_cells(array), " ", "T", max_replacements=1).to_pylist())


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
        return json_values(plain_extension(array))
    return [_shown_value(value) for value in _python_values(array)]


def _python_values(array: Any) -> list[Any]:
    try:
        return list(array.to_pylist())
    except (LookupError, ValueError, OverflowError, pa.ArrowException):  # nothing that Python has a value for
        return [str(value) for value in array]


def _shown_value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


_CONVERT: tuple[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]], ...] = (
    (_is_json_text, _as_written),
    (pa.types.is_floating, _floats),
    (pa.types.is_decimal, _digits),
    (pa.types.is_timestamp, _moments),
    (is_list, _json_lists),
    (pa.types.is_struct, _json_objects),
)
