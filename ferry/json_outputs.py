"""Tensors to JSON: what orjson writes as nested lists, and labels for scores. Knows nothing of HTTP or Redis."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ferry.tensors import Array


def json_ready(array: Array, *, single: bool) -> Any:
    """Return what orjson (with its numpy option) writes as nested lists, batch axis left out for a single row."""
    part = array[0] if single else array
    if array.dtype == object:
        return part.tolist() if isinstance(part, np.ndarray) else part
    if not isinstance(part, np.ndarray):  # a row without inner axes is one number
        number = part.item()
        return None if isinstance(number, float) and not math.isfinite(number) else number
    return np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("="))


def top_labels(labels: Sequence[str], array: Array, *, single: bool) -> Any:
    """Return the label of the highest score per row, None where a score is NaN; None where scores and labels differ."""
    if not labels or array.ndim != 2 or array.shape[1] != len(labels):
        return None
    if single:
        best = int(array[0].argmax())  # the first NaN where there is one: numpy has it above every number
        return None if _is_nan(array[0, best]) else labels[best]
    scores = array.max(axis=1).tolist()
    places = array.argmax(axis=1).tolist()
    return [None if _is_nan(score) else labels[place] for score, place in zip(scores, places, strict=True)]


def _is_nan(score: Any) -> bool:
    return isinstance(score, float | np.floating) and math.isnan(score)
