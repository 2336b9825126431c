"""Arrays of a file made the model's: safe casts and fitting shapes as in JSON, with a reason for each row that fails.

Whole numbers become floats, and so do booleans (0 and 1); floats never become whole numbers. NaN and nulls are missing
values (`ferry.missing`); infinities pass where the manifest declares no range, as they do in raw tensors.
"""

import math
from typing import Any

import numpy as np

from ferry.errors import InvalidInputError
from ferry.json_elements import check_range, limits_of_dtype
from ferry.manifest import TensorSpec
from ferry.missing import find_missing, refused_rows, replaced
from ferry.missing_rules import REFUSE
from ferry.tensors import Array

_SAFE_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iufb", "O": "OUS"}


def fits_dtype(spec: TensorSpec, dtype: np.dtype[Any]) -> bool:
    """Say whether elements of `dtype` can be elements of `spec`, their values aside."""
    return dtype.kind in _SAFE_KINDS[spec.numpy_dtype.kind]


def fit_shape(spec: TensorSpec, inner: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape that rows of shape `inner` take in the model; None where they cannot.

    Axes of size 1 may be missing or added, and all axes may be one.
    """
    wanted = spec.inner_shape
    if len(inner) == len(wanted) and all(want in (None, have) for have, want in zip(inner, wanted, strict=True)):
        return inner
    if None in wanted:
        return None
    sizes = tuple(size or 0 for size in wanted)
    squeezed = tuple(size for size in inner if size != 1)
    if squeezed == tuple(size for size in sizes if size != 1) or squeezed == (math.prod(sizes),):
        return sizes
    return None


def shape_text(spec: TensorSpec) -> str:
    """Return a row's shape for a message."""
    return "(" + ", ".join("any" if size is None else str(size) for size in spec.inner_shape) + ")"


def cast_rows(spec: TensorSpec, array: Array, missing: Array | None = None) -> tuple[Array, dict[int, str]]:
    """Return rows in the dtype of `spec`, and why for each row (by its place) that does not fit.

    Shape: (N, *inner) as it came. The dtype must have passed `fits_dtype`. missing: bools of the same shape, where the
    file has no value; what stands there instead must be of the dtype. NaN is missing too.
    """
    cast, bad = _cast(spec, array)
    if missing is None and _is_within(spec, cast):  # so nothing is NaN
        return cast, bad
    is_nan = find_missing(cast)
    if is_nan is not None:
        missing = is_nan if missing is None else missing | is_nan
    if missing is not None and spec.missing != REFUSE:
        cast = replaced(spec, cast, missing)
    refused = {} if missing is None else refused_rows(spec, missing)
    return cast, _out_of_range(spec, cast) | bad | refused


def _cast(spec: TensorSpec, array: Array) -> tuple[Array, dict[int, str]]:
    if spec.is_string:
        return _texts(array)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(spec.numpy_dtype, copy=False)
    return cast, {} if spec.dtype == "bool" else _overflows(spec, array, cast)


def _overflows(spec: TensorSpec, array: Array, cast: Array) -> dict[int, str]:
    if array.dtype == cast.dtype or array.size == 0:
        return {}
    low, high = limits_of_dtype(spec.dtype)
    if spec.numpy_dtype.kind == "f":
        wrong = np.isinf(cast) & (~np.isinf(array) if array.dtype.kind == "f" else True)
    else:
        wrong = (array < low) | (array > high)
    bad = {}
    for row in np.flatnonzero(wrong.reshape(len(array), -1).any(axis=1)).tolist():
        value = array[row][wrong[row]].reshape(-1)[0].item() if array.ndim > 1 else array[row].item()
        ends = f"{low:g} to {high:g}" if spec.numpy_dtype.kind == "f" else f"{low} to {high}"
        bad[row] = f"{value!r} is outside of {spec.dtype}, which holds {ends}"
    return bad


def _is_within(spec: TensorSpec, cast: Array) -> bool:
    """Say whether all values are in the declared range; False says nothing where none is declared."""
    if spec.range is None or spec.is_string or cast.size == 0:
        return False
    low, high = spec.range
    return bool(cast.min() >= low and cast.max() <= high)


def _out_of_range(spec: TensorSpec, cast: Array) -> dict[int, str]:
    if spec.range is None or spec.is_string or cast.size == 0:
        return {}
    low, high = spec.range
    flat = cast.reshape(len(cast), -1)
    is_outside = ((flat < low) | (flat > high)).any(axis=1)
    bad = {}
    for row in np.flatnonzero(is_outside).tolist():
        try:
            check_range(spec, flat[row], "")
        except InvalidInputError as error:
            bad[row] = error.detail
    return bad


def _texts(array: Array) -> tuple[Array, dict[int, str]]:
    if array.dtype.kind == "U":
        return array.astype(object), {}
    texts = array.astype(object)
    flat, width, bad = texts.reshape(-1), max(1, math.prod(array.shape[1:])), {}
    for place, value in enumerate(flat):
        try:
            flat[place] = value.decode("utf-8") if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            bad[place // width] = "a text is not UTF-8"
        if not isinstance(flat[place], str):
            bad.setdefault(place // width, f"expected text, got {type(value).__name__}")
    return texts, bad
