"""NaN and infinities among a model's outputs: found, or made one. Knows arrays and specs, nothing of jobs or policies.

A batch without any, which is nearly every one, costs one `np.isfinite` an output.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from ferry.manifest import TensorSpec
from ferry.tensors import Array


def blanked(arrays: Sequence[Array]) -> list[Array]:
    """Return the arrays with NaN for every infinity; what is finite or holds no floats is not copied."""
    return [
        array if is_finite is None else np.where(is_finite, array, array.dtype.type(np.nan))
        for array, is_finite in _looked_at(arrays)
    ]


def faults(specs: Sequence[TensorSpec], arrays: Sequence[Array], counts: Sequence[int]) -> dict[int, str]:
    """Say what is not finite, by index into `counts`: of the next so many rows of each array the first at fault.

    Where several outputs are at fault the first of them is named. Rows are counted from 0 within their own count, so
    that nothing is told of other rows.
    """
    found: dict[int, str] = {}
    for spec, (array, is_finite) in zip(specs, _looked_at(arrays), strict=True):
        if is_finite is None:
            continue
        ends = list(accumulate(counts))
        rows = np.flatnonzero(~is_finite.reshape(len(array), -1).all(axis=1))
        for row, index in zip(rows.tolist(), np.searchsorted(ends, rows, side="right").tolist(), strict=True):
            if index not in found:
                what = _name(array[row][~is_finite[row]].flat[0])
                found[index] = f"output {spec.name!r} has {what} in row {row - ends[index] + counts[index]}"
    return found


def first_fault(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> str:
    """Say what is not finite in the outputs of one whole job, of any shape; empty where all is."""
    for spec, (array, is_finite) in zip(specs, _looked_at(arrays), strict=True):
        if is_finite is not None:
            return f"output {spec.name!r} has {_name(array[~is_finite].flat[0])}"
    return ""


def _looked_at(arrays: Sequence[Array]) -> list[tuple[Array, Array | None]]:
    """Return each array with where it is finite; None where that is everywhere."""
    looked_at: list[tuple[Array, Array | None]] = []
    for array in arrays:
        is_finite = np.isfinite(array) if array.dtype.kind == "f" else None
        looked_at.append((array, None if is_finite is None or is_finite.all() else is_finite))
    return looked_at


def _name(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
