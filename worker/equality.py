"""When two answers are the same: what "no neighbour has influence" is measured with. Knows arrays alone."""

from collections.abc import Sequence

import numpy as np

from ferry.tensors import Array

# Rows in a run of the same size may differ by this part of the output's largest value, and no more.
TOLERANCE = 1e-6
# At another place of the run, or beside another number of rows, a row may move by rounding: by this part, by dtype.
ROUNDING = {"float16": 2e-2, "float32": 1e-3, "float64": 1e-6}


def move_between(one: Array, other: Array) -> float:
    """Return how far two answers differ, as a part of the largest finite value in both; infinite where not comparable.

    NaN equals NaN, an infinity equals itself. What is no float (whole numbers, booleans, text) is equal or not.
    """
    is_float = one.dtype.kind == other.dtype.kind == "f"
    if one.shape == other.shape and np.array_equal(one, other, equal_nan=is_float):
        return 0.0
    if one.shape != other.shape or not is_float:
        return float("inf")
    is_finite = np.isfinite(one)
    if not np.array_equal(np.where(is_finite, 0, one), np.where(np.isfinite(other), 0, other), equal_nan=True):
        return float("inf")
    first, second = one[is_finite].astype(np.float64), other[is_finite].astype(np.float64)
    return float(np.abs(first - second).max() / max(np.abs(first).max(), np.abs(second).max()))


def largest_move(ones: Sequence[Array], others: Sequence[Array]) -> float:
    """Return the largest `move_between` of two answers' outputs."""
    return max((move_between(one, other) for one, other in zip(ones, others, strict=True)), default=0.0)
