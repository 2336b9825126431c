"""Lines of JSON that hold rows of numbers and nothing unusual, read without a Python object per number.

Whatever is unusual, or wrong, is left to `json_rows`, which finds the words for it. Of a line of 784 numbers this takes
13 us; lists and their checks take 60. Without simdjson every line is unusual.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ferry.bulk.formats.base import Asked, Group, Rules
from ferry.bulk.formats.sequences import Repeated
from ferry.json_elements import limits_of_dtype
from ferry.manifest import TensorSpec
from ferry.oip import MAX_ID_CHARS
from ferry.tensors import Array

try:
    import simdjson
except ImportError:  # a worker without it reads the same, more slowly
    simdjson = None  # type: ignore[assignment]

# What simdjson and the look-ups in what it parsed raise.
_ERRORS = (ValueError, RuntimeError, TypeError, KeyError, IndexError, AttributeError)
_ENVELOPE = ["custom_id", "method", "url", "body"]
_INFER = frozenset({"name", "shape", "datatype", "data"})
_INFER_IDS = frozenset({"inputs", "id"})
# Of lines that have so few bytes a list (rows of 28 x 28 x 1, say) each list costs more here than it saves.
_MIN_BYTES_PER_LIST = 32
_FEW_LISTS = 8
_MAX_DEPTH = 8
_AXIS_BYTES = 8


def peek(line: bytes, names: Sequence[str]) -> dict[str, Any] | None:
    """Return some members of an object, those that are objects or lists empty; None for a line to be parsed in full.

    A line that passes is JSON as it should be: UTF-8, and no member twice.
    """
    document = _parse(line)
    if document is None:
        return None
    return {name: _hollow(document[name]) for name in names if name in document}


def _hollow(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return {}
    return [] if isinstance(value, simdjson.Array) else value


def _parse(line: bytes) -> Any:
    """Return a line's object if its members can be told by their names."""
    if simdjson is None or line[:1] == b"\xef":  # it passes over a mark of byte order, on any line
        return None
    try:
        document = simdjson.Parser().parse(line)
        if not isinstance(document, simdjson.Object):
            return None
        names = list(document)
    except _ERRORS:
        return None
    # simdjson finds the first of two members, and looks names up as C strings.
    if names == _ENVELOPE:  # as nearly all lines have it
        return document
    if len(set(names)) < len(names) or any("\0" in name for name in names):
        return None
    return document


class PlainRows:
    """Takes the rows of a chunk's plain lines."""

    def __init__(self, rules: Rules, n_lines: int, *, is_bare: bool) -> None:
        specs = rules.manifest.inputs
        self._columns = [_Column(spec, n_lines) for spec in specs]
        is_plain = simdjson is not None and rules.manifest.has_rows_first
        self._is_able = is_plain and all(column.is_able for column in self._columns)
        self._join = rules.join
        # The joined members of the line taken last; lists and objects are empty.
        self.joined: dict[str, Any] = {}
        self._is_bare, self._limit = is_bare, rules.manifest.batching.max_job_rows
        self._is_infer = rules.endpoint == "infer"
        self._read: Callable[[Any, int], int] = self._read_infer if self._is_infer else self._read_prediction
        self._by_name = {column.spec.name: column for column in self._columns}
        self._outputs = tuple((index, False) for index in range(len(rules.manifest.outputs)))
        self._positions: list[int] = []
        self._counts: list[int] = []
        self._singles: list[bool] = []
        self._ids: dict[int, str] = {}
        self._n_rows = 0

    def take(self, line: bytes, position: int) -> str | None:
        """Take a line's rows and return its custom_id (a bare line's is empty); None if it is not plain.

        Floats too large for the input become infinite; numpy's word on that is best silenced once for all lines.
        """
        n_lists = line.count(b"[") if self._is_able else 0
        if not n_lists or (n_lists > _FEW_LISTS and n_lists * _MIN_BYTES_PER_LIST > len(line)):
            return None
        document = _parse(line)
        if document is None:
            return None
        try:
            custom_id = "" if self._is_bare else document["custom_id"]
            body = document if self._is_bare else document["body"]
            self._request_id, self._is_single = "", False
            count = self._read(body, n_lists)
            if not count or not isinstance(custom_id, str):
                return None
            if self._join:
                self.joined = {name: _hollow(document[name]) for name in self._join if name in document}
        except _ERRORS:
            return None
        if self._request_id:
            self._ids[len(self._positions)] = self._request_id
        self._positions.append(position)
        self._counts.append(count)
        self._singles.append(self._is_single and not self._is_infer)
        self._n_rows += count
        return custom_id

    def group(self) -> tuple[Group | None, list[int]]:
        """Return the rows taken, and the positions of lines whose values do not fit and which are not among them."""
        if not self._positions:
            return None, []
        wrong = np.zeros(self._n_rows, bool)
        for column in self._columns:
            wrong |= column.find_wrong(self._n_rows)
        arrays = [column.rows(self._n_rows) for column in self._columns]
        places: Sequence[int] = range(len(self._positions))
        bad: list[int] = []
        if wrong.any():
            lines = np.repeat(np.arange(len(places)), self._counts)
            faulty = set(lines[wrong].tolist())
            places = [place for place in places if place not in faulty]
            bad = [self._positions[place] for place in sorted(faulty)]
            keep = np.isin(lines, np.array(places, np.int64))
            arrays = [array[keep] for array in arrays]
        return (self._group(places, arrays) if places else None), bad

    def _group(self, places: Sequence[int], arrays: list[Array]) -> Group:
        n = len(places)
        positions: Sequence[int] = tuple(self._positions[place] for place in places)
        if positions[-1] - positions[0] == n - 1:
            positions = range(positions[0], positions[-1] + 1)
        counts = _compact([self._counts[place] for place in places])
        singles = _compact([self._singles[place] for place in places])
        if not self._is_infer:
            return Group(positions, arrays, counts, singles, Repeated(None, n))
        default = Asked("", self._outputs)
        asked: Sequence[Asked | None] = Repeated(default, n)
        if self._ids:
            asked = [Asked(self._ids[p], self._outputs) if p in self._ids else default for p in places]
        return Group(positions, arrays, counts, singles, asked)

    def _names(self, body: Any) -> list[str]:
        """Return the names of a body's members; in a bare line those that are joined stand among them."""
        names = list(body)
        return [name for name in names if name not in self._join] if self._is_bare and self._join else names

    def _read_infer(self, body: Any, n_lists: int) -> int:
        """Put a body's rows behind those taken; return how many, 0 if it is not plain."""
        names = self._names(body)
        if names == ["input"]:
            return self._read_prediction(body, n_lists)
        if names != ["inputs"]:
            if len(names) != len(_INFER_IDS) or frozenset(names) != _INFER_IDS:
                return 0
            self._request_id = body["id"]
            if not isinstance(self._request_id, str) or len(self._request_id) > MAX_ID_CHARS:
                return 0
        inputs = body["inputs"]
        if len(inputs) != len(self._columns):
            return 0
        counts, left = set(), n_lists - 1
        for column, item in zip(self._columns, inputs, strict=True):
            count, n_inside = self._read_item(column, item, left)
            counts.add(count)
            left -= n_inside
        return counts.pop() if len(counts) == 1 and not left else 0

    def _read_item(self, column: "_Column", item: Any, max_lists: int) -> tuple[int, int]:
        """Put one input's rows; return how many they are and how many lists it has."""
        names, spec = list(item), column.spec
        if len(names) != len(_INFER) or frozenset(names) != _INFER:
            return 0, 0
        if item["name"] != spec.name or item["datatype"] != spec.oip_datatype:
            return 0, 0
        shape = bytes(item["shape"].as_buffer(of_type="i"))
        if shape[_AXIS_BYTES:] != column.inner_bytes:
            return 0, 0
        count = int.from_bytes(shape[:_AXIS_BYTES], sys.byteorder, signed=True)
        data = item["data"]
        n_inside = 1 if not isinstance(data[0], simdjson.Array) else _shape(data, max_lists)[1]
        if not n_inside or not self._put(column, data, count):
            return 0, 0
        return count, 1 + n_inside

    def _read_prediction(self, body: Any, n_lists: int) -> int:
        """As `_read_infer`."""
        if self._names(body) != ["input"]:
            return 0
        inputs = body["input"]
        names = list(inputs)
        if len(names) != len(self._columns) or self._by_name.keys() != set(names):
            return 0
        seen, left = set(), n_lists
        for name, column in self._by_name.items():
            shape, n_inside = _shape(inputs[name], left)
            is_single = shape == column.spec.inner_shape
            count = 1 if is_single else (shape or (0,))[0]
            if not shape or not (is_single or shape[1:] == column.spec.inner_shape):
                return 0
            if not self._put(column, inputs[name], count):
                return 0
            seen.add((count, is_single))
            left -= n_inside
        if len(seen) != 1 or left:
            return 0
        count, self._is_single = seen.pop()
        return count

    def _put(self, column: "_Column", value: Any, count: int) -> bool:
        return 0 < count <= self._limit and column.put(value, self._n_rows, count)


class _Column:
    """One input's rows, as they come."""

    def __init__(self, spec: TensorSpec, n_rows: int) -> None:
        self.spec = spec
        kind = spec.numpy_dtype.kind
        self.is_able = kind in "iuf" and spec.is_fixed and bool(spec.inner_shape)
        inner = tuple(size or 0 for size in spec.inner_shape) if self.is_able else ()
        # Integers are kept as they are parsed: cast, one that is too large would not be known any more.
        self._code, parsed, kept = ("d", np.float64, spec.numpy_dtype) if kind == "f" else ("i", np.int64, np.int64)
        self._parsed = np.dtype(parsed)
        self.inner_bytes = np.array(inner, np.int64).tobytes()
        self._inner, self._width = inner, math.prod(inner)
        self._flat: Array = np.empty(n_rows * self._width if self.is_able else 0, kept)

    def put(self, value: Any, first: int, count: int) -> bool:
        """Put `count` rows behind the `first` ones; False if the value is not that many."""
        numbers: Array = np.frombuffer(value.as_buffer(of_type=self._code), self._parsed)
        if not numbers.size or numbers.size != count * self._width:
            return False
        if (first + count) * self._width > len(self._flat):
            more: Array = np.empty(2 * (first + count) * self._width, self._flat.dtype)
            more[: first * self._width] = self._flat[: first * self._width]
            self._flat = more
        self._flat[first * self._width : (first + count) * self._width] = numbers
        return True

    def find_wrong(self, n_rows: int) -> Array:
        """Say of each row whether a value is outside of the range, or of the dtype. Shape: bool (n_rows)."""
        held = self._held(n_rows)
        low, high = self.spec.range or limits_of_dtype(self.spec.dtype)
        if held.min() >= low and held.max() <= high:
            return np.zeros(n_rows, bool)
        flat = held.reshape(n_rows, -1)
        return np.asarray(((flat < low) | (flat > high)).any(axis=1))

    def rows(self, n_rows: int) -> Array:
        """Return the rows in the dtype of the input."""
        return self._held(n_rows).astype(self.spec.numpy_dtype, copy=False)

    def _held(self, n_rows: int) -> Array:
        return self._flat[: n_rows * self._width].reshape((n_rows, *self._inner))


def _shape(value: Any, max_lists: int) -> tuple[tuple[int, ...], int]:
    """Return the lengths of nested lists and how many lists they are; no lengths where they are ragged or too many.

    simdjson flattens what is nested. That no number of the last axis is itself a list only the number of all lists in
    the line tells.
    """
    level, shape, n_lists = [value], list[int](), 0
    for _ in range(_MAX_DEPTH):
        lengths = set(map(len, level))
        n_lists += len(level)
        if len(lengths) > 1 or n_lists > max_lists or not level[0]:
            return (), 0
        shape.append(lengths.pop())
        if not isinstance(level[0][0], simdjson.Array):
            return tuple(shape), n_lists
        level = [item for each in level for item in each]
        if set(map(type, level)) != {simdjson.Array}:
            return (), 0
    return (), 0


def _compact(values: list[Any]) -> Sequence[Any]:
    return Repeated(values[0], len(values)) if values.count(values[0]) == len(values) else values
