"""The elements of one tensor from nested JSON lists: taken apart, checked, and made an array.

Knows the spec of a tensor; nothing of the other tensors of a job. Every error has a JSON pointer, says what was
expected and what came.
"""

import math
from array import array as c_array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.missing import settle
from ferry.tensors import MAX_AXES, Array

# dtypes that are a C type of the `array` module on every platform.
_ARRAY_CODES = {"float32": "f", "float64": "d"}
_NUMBERS = frozenset({int, float})
_ALLOWED: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": _NUMBERS,
    "O": frozenset({str}),
}
# What takes the place of a missing element until its rule is applied.
_BLANK: dict[str, bool | int | float | str] = {"b": False, "i": 0, "u": 0, "f": 0.0, "O": ""}
_EXPECTED = {"b": "true or false", "i": "a whole number", "u": "a whole number", "f": "a number", "O": "a string"}
# Parsers make floats of whole numbers that no integer of 64 bits holds.
_BEYOND_INTEGERS = 2.0**63
# A value is shown in an error up to this many characters.
_SHOWN_CHARS = 40
_SHOWN_SIZES = 12


class WrongFormError(InvalidInputError):
    """The value has another form than the model takes; the reader of a job's inputs adds the accepted form."""


@dataclass(frozen=True, slots=True)
class Flat:
    """Elements in row-major order and the sizes of the axes they had."""

    flat: Sequence[Any]
    shape: tuple[int, ...]


def cast(spec: TensorSpec, numbers: Array) -> Array | None:
    """Return int64, uint64 or float64 numbers (at least one) in the dtype of `spec`; None when it cannot hold them."""
    kind, dtype = spec.numpy_dtype.kind, spec.numpy_dtype
    if kind not in "iuf" or (kind != "f" and numbers.dtype.kind == "f"):
        return None
    low, high = spec.range or limits_of_dtype(spec.dtype)
    if not (np.minimum.reduce(numbers, axis=None) >= low and np.maximum.reduce(numbers, axis=None) <= high):
        return None
    return numbers.astype(dtype)


@lru_cache(maxsize=32)
def limits_of_dtype(dtype: str) -> tuple[float, float]:
    """Return the least and the highest number that a number dtype holds."""
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    # As Python numbers: compared with them, int64 data keeps its digits.
    least, most = limits.min, limits.max
    return (float(least), float(most)) if kind.kind == "f" else (int(least), int(most))


def fits(spec: TensorSpec, shape: Sequence[int]) -> bool:
    """Say whether a tensor in the model's own layout may have this shape."""
    if len(shape) != len(spec.shape):
        return spec.has_any_rank and len(shape) <= MAX_AXES
    for size, wanted in zip(shape, spec.shape, strict=True):  # noqa: SIM110  as a generator it takes twice the time
        if wanted is not None and size != wanted:
            return False
    return True


def depth_of(value: Any) -> int:
    """Return how deep the first elements nest; an empty list counts as one axis."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        if not value:
            break
        value = value[0]
    return depth


def flatten(value: Any, depth: int, spec: TensorSpec, pointer: str) -> Flat:
    """Take the axes apart one by one, each at C speed, checking that none is ragged.

    Raises:
        WrongFormError: ragged, or more axes than a tensor has.
    """
    if depth > MAX_AXES:
        raise WrongFormError.at(pointer, f"{depth} axes: a tensor has up to {MAX_AXES}")
    level: list[Any] = [value]
    shape: list[int] = []
    for axis in range(depth):
        if set(map(type, level)) - {list}:
            raise WrongFormError.at(_find(value, axis, pointer), f"expected a list here {axes_of(spec)}")
        sizes = set(map(len, level))
        if len(sizes) > 1:
            raise WrongFormError.at(
                pointer, f"ragged: lists on axis {axis} have {_some(sizes)} entries, expected one size"
            )
        shape.append(len(level[0]) if level else 0)
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))
    return Flat(level, tuple(shape))


def to_array(
    spec: TensorSpec, flat: Sequence[Any], shape: Sequence[int], pointer: str, *, row_axis: int | None
) -> Array:
    """Return elements as an array of `shape`, each checked; rows lie along `row_axis`. null and NaN are missing values.

    Raises:
        InvalidInputError: an element is of another kind, missing without a rule for it, or outside of the dtype or of
            the declared range.
    """
    kind = spec.numpy_dtype.kind
    missing = None
    if set(map(type, flat)) - _ALLOWED[kind]:
        flat, missing = _part_missing(spec, flat, pointer)
        missing = missing.reshape(shape)
    if kind == "f":
        array, is_finite = _floats(spec, flat, pointer)
        if is_finite and missing is None:
            check_range(spec, array, pointer)
            return array.reshape(shape)
    else:
        array = _integers(spec, flat, pointer) if kind in "iu" else np.array(flat, dtype=spec.numpy_dtype)
    return settle_and_check(spec, array.reshape(shape), pointer, row_axis=row_axis, missing=missing)


def settle_and_check(
    spec: TensorSpec, array: Array, pointer: str, *, row_axis: int | None, missing: Array | None = None
) -> Array:
    """Return the array of a job, of the input's dtype, with the rule for missing values applied; check its range.

    missing: bools of the array's shape; None: where it has NaN.

    Raises:
        InvalidInputError: with `pointer`.
    """
    if missing is None and _is_within(spec, array):
        return array
    settled = settle(spec, array, pointer, row_axis=row_axis, missing=missing)
    if spec.numpy_dtype.kind in "iuf":
        check_range(spec, settled, pointer)
    return settled


def _part_missing(spec: TensorSpec, flat: Sequence[Any], pointer: str) -> tuple[Sequence[Any], Array]:
    """Return elements with something harmless for each missing one, and which those are.

    Raises:
        InvalidInputError: another element is of the wrong kind.
    """
    kind = spec.numpy_dtype.kind
    allowed, blank = _ALLOWED[kind], _BLANK[kind]
    is_missing = [item is None or (type(item) is float and item != item) for item in flat]  # noqa: PLR0124  NaN
    parted = [blank if absent else item for item, absent in zip(flat, is_missing, strict=True)]
    for item in parted:
        if kind in "iu" and type(item) is float and abs(item) >= _BEYOND_INTEGERS and item.is_integer():
            raise _outside(spec, item, pointer)
        if type(item) not in allowed:
            detail = f"expected {_EXPECTED[kind]} ({spec.dtype}), got {kind_of(item)} {show(item)}".rstrip()
            raise WrongFormError.at(pointer, detail)
    return parted, np.array(is_missing, dtype=bool)


def _integers(spec: TensorSpec, flat: Sequence[int], pointer: str) -> Array:
    limits = np.iinfo(spec.numpy_dtype)
    if flat and (min(flat) < limits.min or max(flat) > limits.max):
        raise _outside(spec, next(item for item in flat if not limits.min <= item <= limits.max), pointer)
    return np.array(flat, dtype=spec.numpy_dtype)


def _outside(spec: TensorSpec, value: float, pointer: str) -> InvalidInputError:
    """Return the error for a number that a dtype of integers cannot hold."""
    low, high = limits_of_dtype(spec.dtype)
    return InvalidInputError.at(pointer, f"{show(value)} is outside of {spec.dtype}, which holds {low} to {high}")


def _floats(spec: TensorSpec, flat: Sequence[float], pointer: str) -> tuple[Array, bool]:
    """Return an array (n,), and whether it has no NaN; infinities are refused."""
    try:
        array = _float_array(spec, flat)
    except OverflowError:
        raise InvalidInputError.at(pointer, f"a whole number is too large for {spec.dtype}") from None
    if _is_within(spec, array) or np.isfinite(array).all():
        return array, True
    is_infinite = np.isinf(array)
    if not is_infinite.any():
        return array, False
    wrong = flat[int(is_infinite.argmax())]
    limit = float(np.finfo(spec.numpy_dtype).max)
    why = (
        f"is outside of {spec.dtype}, which holds up to {limit:g}" if math.isfinite(wrong) else "is not a finite number"
    )
    raise InvalidInputError.at(pointer, f"{show(wrong)} {why}")


def _float_array(spec: TensorSpec, flat: Sequence[float]) -> Array:
    # Of a list of numbers the standard library's array makes floats in half of numpy's time (12 against 21 us for 784).
    if code := _ARRAY_CODES.get(spec.dtype):
        return np.frombuffer(c_array(code, flat), spec.numpy_dtype)
    with np.errstate(over="ignore"):
        return np.array(flat, dtype=np.float64).astype(spec.numpy_dtype)


def _is_within(spec: TensorSpec, values: Array) -> bool:
    """Say whether all values are in the declared range, hence finite; False says nothing where none is declared."""
    if spec.range is None or values.size == 0 or values.dtype.kind not in "iuf":
        return False
    low, high = spec.range
    return bool(values.min() >= low and values.max() <= high)


def check_range(spec: TensorSpec, array: Array, pointer: str) -> None:
    """Refuse values outside of the range that the manifest declares. NaN passes: `ferry.missing` decides on it."""
    if spec.range is None or array.size == 0 or _is_within(spec, array):
        return
    low, high = spec.range
    least, most = np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)
    if not (most > high or least < low):
        return
    what = f"{most:g} is above {high:g}" if most > high else f"{least:g} is below {low:g}"
    hint = "; divide pixels by 255" if (low, high) == (0, 1) and 1 < most <= 255 and least >= 0 else ""
    raise InvalidInputError.at(pointer, f"{what}: {spec.name!r} takes values from {low:g} to {high:g}{hint}")


def _find(value: Any, axis: int, pointer: str) -> str:
    """Return the pointer of the first element `axis` lists deep that is not a list."""
    found = _first_other(value, axis)
    return "/".join([pointer, *map(str, found or [])])


def _first_other(value: Any, axis: int) -> list[int] | None:
    """Return the indices of the first element `axis` lists deep that is not a list; None: all are lists."""
    if axis == 0:
        return None if isinstance(value, list) else []
    for index, item in enumerate(value):
        found = _first_other(item, axis - 1)
        if found is not None:
            return [index, *found]
    return None


def axes_of(spec: TensorSpec) -> str:
    """Return the shape of a tensor as an error shows it: (rows, 3), (2, rows, 128), (any, 4)."""
    if spec.has_any_rank:
        return "(any shape)"
    sizes = ["any" if size is None else str(size) for size in spec.shape]
    if spec.batch_axis is not None and spec.shape[spec.batch_axis] is None:
        sizes[spec.batch_axis] = "rows"
    return f"({', '.join(sizes)})"


def _some(sizes: set[int]) -> str:
    return ", ".join(str(size) for size in sorted(sizes)[:3])


def kind_of(value: Any) -> str:
    """Return what a JSON value is, for an error."""
    names = {
        dict: "an object",
        list: "a list",
        np.ndarray: "a list",
        str: "the string",
        bool: "the boolean",
        type(None): "null",
    }
    return names.get(type(value), "the number")


def show_sizes(value: Any) -> str:
    """Return a list of numbers or texts, cut short, for an error; of any other value, what it is."""
    if not isinstance(value, list) or any(isinstance(item, list | dict) for item in value[:_SHOWN_SIZES]):
        return f"{kind_of(value)} {show(value)}".rstrip()
    more = ["..."] if len(value) > _SHOWN_SIZES else []
    return f"[{', '.join([*map(show, value[:_SHOWN_SIZES]), *more])}]"


def show(value: Any) -> str:
    """Return a JSON value, cut short, for an error."""
    shown = (
        {None: "", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else repr(value)
    )
    shown = "" if isinstance(value, list | dict | np.ndarray) else str(shown)
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."
