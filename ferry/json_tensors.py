"""Tensors from JSON: nested lists to checked arrays. Knows the manifest, nothing of HTTP or Redis.

A parser that already made an array of many numbers (api/json_arrays.py) spares the lists; when such an array is not
what the manifest says, it is taken apart again, so that errors are found and worded in one place.
Every fault names the field by a JSON pointer, says what was expected and what came.
"""

import math
from array import array as c_array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from ferry.errors import InvalidInputError
from ferry.manifest import Manifest, TensorSpec
from ferry.tensors import Array

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
_EXPECTED = {"b": "true or false", "i": "a whole number", "u": "a whole number", "f": "a number", "O": "a string"}
# A value is shown in an error up to this many characters.
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Rows:
    """The inputs of one job.

    Shape: each array (n_rows, *inner), in the manifest's order. single: the caller left the batch axis out.
    """

    arrays: list[Array]
    n_rows: int
    single: bool


def read_inputs(manifest: Manifest, value: Any, pointer: str = "#/input") -> Rows:
    """Check `value` (input name -> nested lists, or an int64 or float64 array; batch axis first) against the manifest.

    A value one axis short for every input is one row without its batch axis.

    Raises:
        InvalidInputError: with a pointer to the field at fault.
    """
    if not isinstance(value, Mapping):
        raise InvalidInputError.at(pointer, f"expected an object of inputs by name, got {_kind(value)}")
    _check_names(manifest, value, pointer)
    arrays, singles = [], []
    for spec in manifest.inputs:
        array, is_single = _read_tensor(spec, value[spec.name], f"{pointer}/{escape_pointer(spec.name)}")
        arrays.append(array)
        singles.append(is_single)
    if len(set(singles)) > 1:
        raise InvalidInputError.at(
            pointer, "some inputs have the batch axis and some do not; give it to all or to none"
        )
    n_rows = arrays[0].shape[0]
    if any(array.shape[0] != n_rows for array in arrays):
        counts = zip(manifest.inputs, arrays, strict=True)
        listed = ", ".join(f"{spec.name}: {array.shape[0]}" for spec, array in counts)
        raise InvalidInputError.at(pointer, f"inputs have different numbers of rows ({listed})")
    check_rows(manifest, n_rows, pointer)
    return Rows(arrays, n_rows, singles[0])


def check_rows(manifest: Manifest, n_rows: int, pointer: str) -> None:
    """Refuse a job without rows or with too many."""
    limit = manifest.batching.max_job_rows
    if n_rows == 0:
        raise InvalidInputError.at(pointer, "0 rows: a job needs at least one")
    if n_rows > limit:
        raise InvalidInputError.at(pointer, f"{n_rows} rows, the limit of {manifest.ref} is {limit}; send several jobs")


def read_flat_row(spec: TensorSpec, value: Any, pointer: str) -> Array:
    """Read one row whose axes may be nested or flattened; returns shape (1, *inner)."""
    shape = tuple(1 if size is None else size for size in spec.inner_shape)
    wanted = math.prod(shape)
    if isinstance(value, np.ndarray):
        array = _cast(spec, value) if value.size == wanted and None not in spec.inner_shape else None
        if array is not None:
            return array.reshape((1, *shape))
        value = value.tolist()
    levels = _flatten(value, _depth(value), spec, pointer)
    if None in spec.inner_shape or len(levels.flat) != wanted:
        shown = " x ".join(str(size) for size in spec.inner_shape)
        raise InvalidInputError.at(
            pointer, f"expected {wanted} numbers ({shown}, nested or flat), got {len(levels.flat)}"
        )
    return _to_array(spec, levels.flat, pointer).reshape((1, *shape))


def read_shaped(spec: TensorSpec, value: Any, shape: tuple[int, ...], pointer: str) -> Array:
    """Read a tensor whose shape the caller has said and checked; its lists may be nested or flat."""
    if isinstance(value, np.ndarray):
        array = _cast(spec, value) if value.size == math.prod(shape) else None
        if array is not None:
            return array.reshape(shape)
        value = value.tolist()
    flat = _flatten(value, _depth(value), spec, pointer).flat if isinstance(value, list) else None
    if flat is None:
        raise InvalidInputError.at(pointer, f"expected a list, got {_kind(value)}")
    if len(flat) != math.prod(shape):
        detail = f"{len(flat)} elements do not fill the shape {list(shape)}, which has {math.prod(shape)}"
        raise InvalidInputError.at(pointer, detail)
    return _to_array(spec, flat, pointer).reshape(shape)


@dataclass(frozen=True, slots=True)
class _Flat:
    """Elements in row-major order and the sizes of the axes they had."""

    flat: Sequence[Any]
    shape: tuple[int, ...]


def _check_names(manifest: Manifest, value: Mapping[str, Any], pointer: str) -> None:
    names = [spec.name for spec in manifest.inputs]
    if value.keys() == set(names):
        return
    listed = ", ".join(repr(name) for name in names)
    for name in value:
        if name not in names:
            detail = f"{manifest.ref} has no input {_show(name)}; its inputs are {listed}"
            raise InvalidInputError.at(f"{pointer}/{escape_pointer(name)}", detail)
    for name in names:
        if name not in value:
            raise InvalidInputError.at(
                f"{pointer}/{escape_pointer(name)}", f"input {name!r} is missing; {manifest.ref} needs {listed}"
            )


def _read_tensor(spec: TensorSpec, value: Any, pointer: str) -> tuple[Array, bool]:
    if isinstance(value, np.ndarray):
        array = _whole(spec, value)
        if array is not None:
            return array, value.ndim < len(spec.shape)
        value = value.tolist()
    if value == []:
        return np.empty((0, *(size or 0 for size in spec.inner_shape)), spec.numpy_dtype), False
    rank, depth = len(spec.shape), _depth(value)
    if depth not in (rank, rank - 1):
        raise InvalidInputError.at(
            pointer, f"expected {rank} axes {_axes(spec)}, or {rank - 1} for a single row, got {depth}"
        )
    levels = _flatten(value, depth, spec, pointer)
    is_single = depth == rank - 1
    shape = (1, *levels.shape) if is_single else levels.shape
    for axis, (size, wanted) in enumerate(zip(shape[1:], spec.inner_shape, strict=True)):
        if wanted is not None and size != wanted:
            raise InvalidInputError.at(pointer, f"axis {axis + 1} has {size} entries, expected {wanted} {_axes(spec)}")
    return _to_array(spec, levels.flat, pointer).reshape(shape), is_single


def _whole(spec: TensorSpec, numbers: Array) -> Array | None:
    """Return int64 or float64 `numbers` as rows of `spec`; None when something is wrong, for the lists to say what."""
    if numbers.ndim == len(spec.shape) - 1:
        numbers = numbers[np.newaxis]
    if numbers.ndim != len(spec.shape):
        return None
    for size, wanted in zip(numbers.shape[1:], spec.inner_shape, strict=True):
        if wanted is not None and size != wanted:
            return None
    return _cast(spec, numbers)


def _cast(spec: TensorSpec, numbers: Array) -> Array | None:
    """Return int64 or float64 numbers (at least one) in the dtype of `spec`; None when it cannot hold them all."""
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


def _depth(value: Any) -> int:
    """Return how deep the first elements nest; an empty list counts as one axis."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        if not value:
            break
        value = value[0]
    return depth


def _flatten(value: Any, depth: int, spec: TensorSpec, pointer: str) -> _Flat:
    """Take the axes apart one by one, each at C speed, checking that none is ragged."""
    level: list[Any] = [value]
    shape: list[int] = []
    for axis in range(depth):
        if set(map(type, level)) - {list}:
            raise InvalidInputError.at(_find(value, axis, pointer), f"expected a list here {_axes(spec)}")
        sizes = set(map(len, level))
        if len(sizes) > 1:
            raise InvalidInputError.at(
                pointer, f"ragged: lists on axis {axis} have {_some(sizes)} entries, expected one size"
            )
        shape.append(len(level[0]) if level else 0)
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))
    return _Flat(level, tuple(shape))


def _to_array(spec: TensorSpec, flat: Sequence[Any], pointer: str) -> Array:
    kind = spec.numpy_dtype.kind
    if set(map(type, flat)) - _ALLOWED[kind]:
        wrong = next(item for item in flat if type(item) not in _ALLOWED[kind])
        detail = f"expected {_EXPECTED[kind]} ({spec.dtype}), got {_kind(wrong)} {_show(wrong)}".rstrip()
        raise InvalidInputError.at(pointer, detail)
    if kind == "O":
        return np.array(flat, dtype=object)
    if kind in "iu":
        return _integers(spec, flat, pointer)
    if kind == "f":
        return _floats(spec, flat, pointer)
    return np.array(flat, dtype=spec.numpy_dtype)


def _integers(spec: TensorSpec, flat: Sequence[int], pointer: str) -> Array:
    limits = np.iinfo(spec.numpy_dtype)
    if flat and (min(flat) < limits.min or max(flat) > limits.max):
        wrong = next(item for item in flat if not limits.min <= item <= limits.max)
        raise InvalidInputError.at(
            pointer, f"{_show(wrong)} is outside of {spec.dtype}, which holds {limits.min} to {limits.max}"
        )
    array = np.array(flat, dtype=spec.numpy_dtype)
    check_range(spec, array, pointer)
    return array


def _floats(spec: TensorSpec, flat: Sequence[float], pointer: str) -> Array:
    try:
        array = _float_array(spec, flat)
    except OverflowError:
        raise InvalidInputError.at(pointer, f"a whole number is too large for {spec.dtype}") from None
    if _is_within(spec, array):
        return array
    if not np.isfinite(array).all():
        wrong = flat[int(np.flatnonzero(~np.isfinite(array))[0])]
        limit = float(np.finfo(spec.numpy_dtype).max)
        why = (
            f"is outside of {spec.dtype}, which holds up to {limit:g}"
            if math.isfinite(wrong)
            else "is not a finite number"
        )
        raise InvalidInputError.at(pointer, f"{wrong!r} {why}")
    check_range(spec, array, pointer)
    return array


def _float_array(spec: TensorSpec, flat: Sequence[float]) -> Array:
    # Of a list of numbers the standard library's array makes floats in half of numpy's time (12 against 21 us for 784).
    if code := _ARRAY_CODES.get(spec.dtype):
        return np.frombuffer(c_array(code, flat), spec.numpy_dtype)
    with np.errstate(over="ignore"):
        return np.array(flat, dtype=np.float64).astype(spec.numpy_dtype)


def _is_within(spec: TensorSpec, values: Array) -> bool:
    """Say whether all values are in the declared range, hence finite; False says nothing where none is declared."""
    if spec.range is None or values.size == 0:
        return False
    low, high = spec.range
    return bool(values.min() >= low and values.max() <= high)


def check_range(spec: TensorSpec, array: Array, pointer: str) -> None:
    """Refuse values outside of the range that the manifest declares; NaN is outside of every range."""
    if spec.range is None or array.size == 0 or _is_within(spec, array):
        return
    low, high = spec.range
    least, most = array.min(), array.max()
    if most > high:
        what = f"{most:g} is above {high:g}"
    else:
        what = f"{least:g} is below {low:g}" if least < low else "NaN is not a number"
    hint = "; divide pixels by 255" if (low, high) == (0, 1) and 1 < most <= 255 and least >= 0 else ""
    raise InvalidInputError.at(pointer, f"{what}: {spec.name!r} takes values from {low:g} to {high:g}{hint}")


def _find(value: Any, axis: int, pointer: str) -> str:
    """Return the pointer of the first element `axis` lists deep that is not a list."""
    level = [(value, pointer)]
    for _ in range(axis):
        level = [(item, f"{where}/{index}") for parent, where in level for index, item in enumerate(parent)]
    return next(where for item, where in level if not isinstance(item, list))


def _axes(spec: TensorSpec) -> str:
    inner = ", ".join("any" if size is None else str(size) for size in spec.inner_shape)
    return f"(rows{', ' + inner if inner else ''})"


def _some(sizes: set[int]) -> str:
    return ", ".join(str(size) for size in sorted(sizes)[:3])


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        np.ndarray: "a list",
        str: "the string",
        bool: "the boolean",
        type(None): "null",
    }
    return names.get(type(value), "the number")


def _show(value: Any) -> str:
    shown = (
        {None: "", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else repr(value)
    )
    shown = "" if isinstance(value, list | dict | np.ndarray) else str(shown)
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."


def escape_pointer(name: str) -> str:
    """Escape a member name for a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
