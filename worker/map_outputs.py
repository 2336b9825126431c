"""Outputs that are lists of maps (ZipMap of scikit-learn, LightGBM and XGBoost) as tensors. Knows no model.

Such an output is a list with one map for each row, from a class (int or text) to its score.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ferry.tensors import Array

Maps = Sequence[Mapping[int | str, float]]


def keys_of(result: Maps) -> tuple[int | str, ...]:
    """Return the keys of the maps, in the order of the first; empty where there is no row to see them in."""
    return tuple(result[0]) if result else ()


def arrays_from_maps(result: Maps, keys: Sequence[int | str]) -> Array:
    """Return the scores as float32. Shape: (rows, keys).

    Raises:
        ValueError: a row has other keys.
    """
    wanted = set(keys)
    for row, scores in enumerate(result):
        if scores.keys() != wanted:
            raise ValueError(f"row {row} has scores for {sorted(map(str, scores))}, expected {list(map(str, keys))}")
    table = [[scores[key] for key in keys] for scores in result]
    return np.array(table, dtype=np.float32).reshape((len(result), len(keys)))
