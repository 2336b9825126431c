"""How far outcomes of the same rows differ: the strict measure between equal runs, and the one for rounding."""

from collections.abc import Sequence

import numpy as np

from ferry.tensors import Array
from worker.equality import ROUNDING, move_between

# An output may hold numbers of different magnitude (boxes and their scores): each is judged by its own, down to this
# part of the largest one.
_OWN_MAGNITUDE = 1e-3


def strict_move(one: Array, other: Array) -> float:
    """Return the largest relative difference of two elements; infinite where not comparable.

    For runs of the same number of rows with the row at the same place, which give the same bits in every sound model.
    """
    move = move_between(one, other)
    if not 0 < move < float("inf"):
        return move
    is_finite = np.isfinite(one)
    first, second = one[is_finite].astype(np.float64), other[is_finite].astype(np.float64)
    magnitude = np.maximum(np.abs(first), np.abs(second))
    return float((np.abs(first - second) / np.maximum(magnitude, _OWN_MAGNITUDE * magnitude.max())).max())


def rounding_move(one: Array, other: Array, usual: float) -> float:
    """Return the largest difference as a part of the outcome's magnitude, or of `usual` where that is larger."""
    move = move_between(one, other)
    if not 0 < move < float("inf"):
        return move
    largest = max(_largest(one), _largest(other))
    return move * largest / max(largest, usual)


def usual_magnitude(rows: Array) -> float:
    """Return the median of the rows' largest magnitudes; 0 for what is no float. Shape: (N, ...)."""
    if rows.dtype.kind != "f" or not rows.size:
        return 0.0
    return float(np.median([_largest(row) for row in rows]))


def is_rounding(move: float, dtype: str) -> bool:
    """Say whether a move may come from rounding when the number of rows, or the place of a row, changed."""
    return move <= ROUNDING.get(dtype, 0.0)


def largest_strict_move(ones: Sequence[Array], others: Sequence[Array]) -> tuple[float, int]:
    """Return the largest `strict_move` of two outcomes and the index of the output that has it."""
    moves = [strict_move(one, other) for one, other in zip(ones, others, strict=True)]
    return max(moves), moves.index(max(moves))


def _largest(array: Array) -> float:
    magnitudes = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(magnitudes.max()) if magnitudes.size else 0.0
