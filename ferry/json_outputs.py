"""Tensors to JSON: what orjson writes as nested lists, and labels for scores. Knows nothing of HTTP or Redis."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ferry.manifest import Manifest, TensorSpec
from ferry.tensors import Array, model_layout, without_batch_axis


def json_ready(array: Array, *, single: bool) -> Any:
    """Return what orjson (with its numpy option) writes as nested lists, first axis left out for a single row."""
    part = array[0] if single else array
    if array.dtype == object:
        return part.tolist() if isinstance(part, np.ndarray) else part
    if part.ndim == 0:  # a row without inner axes, or a scalar, is one number
        number = part.item()
        return None if isinstance(number, float) and not math.isfinite(number) else number
    return np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("="))


def tensor_ready(spec: TensorSpec, array: Array, *, single: bool, is_batched: bool) -> Any:
    """Return a job's tensor as `json_ready` does, in the model's own layout, the batch axis left out for a single row.

    Shape: `array` is as the job's codec unpacks it: (N, *inner) where jobs are batched, else the model's own layout.
    """
    if is_batched:
        return json_ready(array if single else model_layout(spec, array), single=single)
    return json_ready(without_batch_axis(spec, array) if single else array, single=False)


def labels_of_job(manifest: Manifest, outputs: Sequence[Array], *, single: bool) -> Any:
    """Return the label of the highest score for each list of scores; None where no output has a score per label.

    Shape: of the output with the scores, without its last axis; one label where that leaves no axis. `outputs` are as
    the job's codec unpacks them.
    """
    if not manifest.labels:
        return None
    index = manifest.labels_index if manifest.labels_of else 0
    if manifest.is_batched:
        return top_labels(manifest.labels, outputs[index], single=single)
    spec, scores = manifest.outputs[index], outputs[index]
    if not _are_scores(spec, scores, len(manifest.labels)):
        return None
    scores = without_batch_axis(spec, scores) if single else scores
    flat = top_labels(manifest.labels, scores.reshape(-1, len(manifest.labels)), single=False)
    return np.array(flat, dtype=object).reshape(scores.shape[:-1]).tolist()


def top_labels(labels: Sequence[str], array: Array, *, single: bool) -> Any:
    """Return the label of the highest score per row, None where a score is NaN; None where scores and labels differ."""
    if not labels or array.ndim != 2 or array.shape[1] != len(labels) or array.dtype.kind == "O":
        return None
    if single:
        best = int(array[0].argmax())  # the first NaN where there is one: numpy has it above every number
        return None if _is_nan(array[0, best]) else labels[best]
    scores = array.max(axis=1).tolist()
    places = array.argmax(axis=1).tolist()
    return [None if _is_nan(score) else labels[place] for score, place in zip(scores, places, strict=True)]


def _are_scores(spec: TensorSpec, array: Array, n_labels: int) -> bool:
    """Say whether the last axis of a whole job's output is known to be that of the classes.

    An image may happen to be as wide as there are labels: beyond two axes the manifest itself must say the number.
    """
    if array.ndim == 0 or array.shape[-1] != n_labels or array.dtype == object:
        return False
    if spec.batch_axis == array.ndim - 1:  # the last axis counts rows
        return False
    return array.ndim <= 2 or spec.shape[-1:] == (n_labels,)


def _is_nan(score: Any) -> bool:
    return isinstance(score, float | np.floating) and math.isnan(score)
