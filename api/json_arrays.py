"""JSON to Python, with arrays of numbers read straight into numpy: no Python object is made per number.

Of 784 floats that is 10 µs against 58 µs for lists and their checks (benchmarks/results has the whole request).
The work is linear in the bytes, whatever they hold: Python looks at one value for each `_BYTES_PER_VISIT` bytes, and
where that is not enough, or an array is not what it seemed, the whole body goes to another parser.
"""

import math
from typing import Any

import numpy as np
import simdjson

from ferry.tensors import Array

# Smaller arrays (a shape, a few features) stay lists: nothing is gained, and their readers expect lists.
MIN_NUMBERS = 32
# The member of a body with the inputs of many jobs: each is a value of its own, also where all are numbers.
APART = "inputs"
# A visit takes about 0.5 µs, the other parser 10 ns a byte: more visits than this cost more than they save.
_BYTES_PER_VISIT = 32
_FREE_VISITS = 64
# simdjson finds a member by walking over those before it, about 5 ns each.
MAX_MEMBERS = 64
# So many are found one by one: `find` of one byte is memchr, `count` a loop over all bytes, ten times slower.
_FEW_LISTS = 32
# Values that Python makes in C cost this part of a visit.
_LEAVES_PER_VISIT = 16


def read(body: bytes) -> Any:
    """Return the JSON value in `body`; every rectangular array of MIN_NUMBERS numbers or more is a numpy array.

    Shape: as nested; int64 (uint64 where one is over 2**63 - 1) where no number has a fraction or an exponent, else
    float64. The items of the body's `inputs` are read each by itself. All else is as in `json.loads`.

    Raises:
        ValueError: it is not JSON, or not JSON that is read here (NaN, integers over 64 bits, a member twice, lists
            of different lengths, many small values); another parser decides, and finds the words for what is wrong.
    """
    reader = _Reader(len(body) // _BYTES_PER_VISIT + _FREE_VISITS)
    try:
        value = reader.body(simdjson.Parser().parse(body))
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    # simdjson flattens what is nested; only the total shows that no number of an array was itself a list.
    if _has_other_brackets(body, reader.n_lists):
        raise ValueError("lists within the last axis of an array")
    return value


def _has_other_brackets(body: bytes, n_lists: int) -> bool:
    """Say whether a body has other than `n_lists` opening brackets; it is read no farther than one too many."""
    if n_lists > _FEW_LISTS:
        return body.count(b"[") != n_lists
    at = -1
    for _ in range(n_lists):
        at = body.find(b"[", at + 1)
        if at < 0:
            return True
    return body.find(b"[", at + 1) >= 0


class _Reader:
    """Converts one parsed body, and counts its lists and the visits that are left."""

    __slots__ = ("_visits_left", "n_lists")

    def __init__(self, max_visits: int) -> None:
        self._visits_left = max_visits
        self.n_lists = 0

    def body(self, value: Any) -> Any:
        """Convert the body itself, whose APART is a list of values."""
        if not isinstance(value, simdjson.Object):
            return self._convert(value)
        members = {}
        for name in self._names(value):
            member = value[name]
            is_apart = name == APART and isinstance(member, simdjson.Array)
            members[name] = self._items(member) if is_apart else self._convert(member)
        return members

    def _convert(self, value: Any) -> Any:
        if isinstance(value, simdjson.Object):
            return {name: self._convert(value[name]) for name in self._names(value)}
        if not isinstance(value, simdjson.Array):
            return value
        shape, n_lists, first = self._shape(value)
        if isinstance(first, int | float) and not isinstance(first, bool) and math.prod(shape) >= MIN_NUMBERS:
            self.n_lists += n_lists
            return _numbers(value, first).reshape(shape)
        return self._items(value)

    def _names(self, value: Any) -> list[str]:
        n_members = len(value)
        self._visit(n_members + 1)
        if n_members > MAX_MEMBERS:
            raise ValueError("too many members to look up by walking")
        names = list(value)
        if len(set(names)) < n_members or any("\0" in name for name in names):
            raise ValueError("simdjson looks members up by C strings, and finds the first of a name")
        return names

    def _items(self, value: Any) -> list[Any]:
        """Return a list of its items, each converted by itself."""
        self.n_lists += 1
        is_of_leaves = type(next(iter(value), None)) not in _CONTAINERS
        self._visit(1 + (len(value) // _LEAVES_PER_VISIT if is_of_leaves else len(value)))
        items = list(value)
        if is_of_leaves:
            if _CONTAINERS.isdisjoint(map(type, items)):
                return items
            self._visit(len(items))
        return [self._convert(item) for item in items]

    def _shape(self, value: Any) -> tuple[tuple[int, ...], int, Any]:
        """Return the lengths of the axes, how many lists they are, and the first element, None of an empty list."""
        level, shape, n_lists = [value], [], 0
        while True:
            n_lists += len(level)
            self._visit(len(level))
            length = len(level[0])
            if len(level) > 1 and set(map(len, level)) != {length}:
                raise ValueError("lists of different lengths")
            shape.append(length)
            if not length:
                return tuple(shape), n_lists, None
            first = next(iter(level[0]))
            if not isinstance(first, simdjson.Array):
                return tuple(shape), n_lists, first
            self._visit(len(level) * length)
            level = [item for each in level for item in each]
            if set(map(type, level)) != {simdjson.Array}:
                raise ValueError("lists and other values in one list")

    def _visit(self, n_values: int) -> None:
        self._visits_left -= n_values
        if self._visits_left < 0:
            raise ValueError("many small values")


_CONTAINERS = frozenset({simdjson.Array, simdjson.Object})


def _numbers(value: Any, first: float) -> Array:
    """Return the numbers of an array as they lie, one after the other."""
    kinds: list[tuple[str, type[np.generic]]] = [("d", np.float64)]
    if isinstance(first, int):  # as float64, whole numbers from 2**53 would lose digits
        kinds = [("i", np.int64), ("u", np.uint64), *kinds]
    for code, dtype in kinds:
        try:
            return np.frombuffer(value.as_buffer(of_type=code), dtype)
        except (TypeError, ValueError):
            continue
    raise ValueError("more than numbers in one array")
