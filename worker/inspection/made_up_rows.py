"""Rows made up for a trial: valid for the signature, the same ones every time. Runs nothing."""

import math
from collections.abc import Sequence

import numpy as np

from ferry.manifest import TensorSpec
from ferry.tensors import Array
from worker.inspection.signature import Signature

# Arrays by input name; each (N, *inner).
Feed = dict[str, Array]


def feed_bytes(signature: Signature, n_rows: int, size: int) -> int:
    """Return what `make_up_rows` would take, in bytes."""
    shapes = _inner_shapes(signature, size)
    pairs = zip(signature.inputs, shapes, strict=True)
    return sum(n_rows * math.prod(shape) * spec.numpy_dtype.itemsize for spec, shape in pairs)


def make_up_rows(signature: Signature, n_rows: int, size: int) -> Feed:
    """Make `n_rows` rows whose free inner axes are of `size`."""
    random = np.random.default_rng(0)
    shapes = _inner_shapes(signature, size)
    return {
        spec.name: _made_up(spec, (n_rows, *shape), random)
        for spec, shape in zip(signature.inputs, shapes, strict=True)
    }


def take(rows: Feed, indices: Sequence[int]) -> Feed:
    """Return the rows at `indices`, which may repeat."""
    return {name: array[list(indices)] for name, array in rows.items()}


def _inner_shapes(signature: Signature, size: int) -> list[tuple[int, ...]]:
    return [tuple(size if isinstance(axis, str) else axis for axis in axes) for axes in signature.axes]


def _made_up(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if spec.is_string:
        # Digits, since a model may turn text into numbers.
        return random.integers(0, 2, shape).astype(str).astype(object)
    if spec.dtype.startswith("float"):
        # Multiples of 1/256 in [0, 1) are exact in float16 too.
        return (random.integers(0, 256, shape) / 256).astype(spec.numpy_dtype)
    return random.integers(0, 2, shape).astype(spec.numpy_dtype)
