"""JSON to Python, with arrays of numbers read straight into numpy: no Python object is made per number.

Of 784 floats that is 10 µs against 58 µs for lists and their checks (benchmarks/results has the whole request).
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import simdjson

from ferry.tensors import Array

# Smaller arrays (a shape, a few features) stay lists: nothing is gained, and whoever reads them expects lists.
MIN_NUMBERS = 32
# The member of a body with the inputs of many jobs: each is a value of its own, also where all are numbers.
APART = "inputs"


def read(body: bytes) -> Any:
    """Return the JSON value in `body`; every rectangular array of MIN_NUMBERS numbers or more is a numpy array.

    Shape: as nested; int64 (uint64 where one is over 2**63 - 1) where no number has a fraction or an exponent, else
    float64. The items of the body's `inputs` are read each by itself. All else is as in `json.loads`.

    Raises:
        ValueError: it is no JSON, or not JSON that is read here (NaN, integers over 64 bits, a member twice, lists
            among the numbers of an array); another parser decides, and finds the words for what is wrong.
    """
    try:
        value, n_lists = _convert(simdjson.Parser().parse(body), is_body=True)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    # simdjson flattens what is nested; that no number of an array was itself a list, only their total tells.
    if n_lists != body.count(b"["):
        raise ValueError("lists within the last axis of an array")
    return value


def _convert(value: Any, *, is_body: bool = False) -> tuple[Any, int]:
    """Return a parsed value as Python and numpy objects, and how many lists it is made of."""
    if isinstance(value, simdjson.Object):
        names = list(value)
        if len(set(names)) < len(names) or any("\0" in name for name in names):
            raise ValueError("simdjson looks members up by C strings, and finds the first of a name")
        members = {name: _apart(value[name]) if is_body and name == APART else _convert(value[name]) for name in names}
        return {name: member for name, (member, _) in members.items()}, _total(members.values())
    if not isinstance(value, simdjson.Array):
        return value, 0
    numbers = _numbers(value)
    if numbers is not None:
        return numbers
    items = [_convert(item) for item in value]
    return [item for item, _ in items], 1 + _total(items)


def _apart(value: Any) -> tuple[Any, int]:
    """Convert each item of a list by itself; the list stays one."""
    if not isinstance(value, simdjson.Array):
        return _convert(value)
    items = [_convert(item) for item in value]
    return [item for item, _ in items], 1 + _total(items)


def _total(converted: Iterable[tuple[Any, int]]) -> int:
    return sum(n_lists for _, n_lists in converted)


def _numbers(value: Any) -> tuple[Array, int] | None:
    """Return an array and how many lists it was; None when it is small, ragged, or holds more than numbers."""
    shape, n_lists, first = _shape(value)
    if math.prod(shape) < MIN_NUMBERS:
        return None
    # As float64, whole numbers from 2**53 would lose digits.
    array = _flat(value, "i", np.int64) if isinstance(first, int) else None
    if array is None and isinstance(first, int):
        array = _flat(value, "u", np.uint64)
    if array is None:
        array = _flat(value, "d", np.float64)
    if array is None or array.size != math.prod(shape):
        return None
    return array.reshape(shape), n_lists


def _flat(value: Any, code: str, dtype: type) -> Array | None:
    try:
        return np.frombuffer(value.as_buffer(of_type=code), dtype)
    except (TypeError, ValueError):
        return None


def _shape(value: Any) -> tuple[tuple[int, ...], int, Any]:
    """Return the lengths of the axes, how many lists they are, and the first element.

    A shape without elements stands for lists that differ in length.
    """
    level, shape, n_lists = [value], [], 0
    while True:
        lengths = set(map(len, level))
        n_lists += len(level)
        shape.append(lengths.pop() if len(lengths) == 1 else 0)
        if not shape[-1]:
            return (0,), n_lists, None
        first = level[0][0]
        if not isinstance(first, simdjson.Array):
            return tuple(shape), n_lists, first
        level = [item for each in level for item in each]
        if set(map(type, level)) != {simdjson.Array}:
            return (0,), n_lists, None
