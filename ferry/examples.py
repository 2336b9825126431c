"""Inputs that a model takes, to try it with: real ones that lie beside it, else made up from its signature.

An example is one row; where the model has no rows, it is one whole tensor for each input. Real ones are
`samples/*.npz` in a version's folder: an array (N, *example) for each input, by its name, and optionally `y` (N), what
each example is. Bytes (uint8) of an input of floats that has a range are spread over it: 255 is its end.
Knows nothing of HTTP, Redis or onnxruntime.
"""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferry.manifest import SAMPLES_DIR, Manifest, TensorSpec
from ferry.tensors import Array

TRUTHS = "y"
# A free inner axis has this size where nobody measured the model at another.
FREE_AXIS_SIZE = 1
# Numbers in all rows together: what a page can show and a request can carry.
MOST_ELEMENTS = 1_000_000
_TEXT = "example"


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples. arrays: (count, *example) each, in the manifest's order. truths: what each is, where that is known."""

    arrays: list[Array]
    count: int
    truths: list[str] | None
    is_made_up: bool


def examples_of(
    manifest: Manifest, folder: Path | None, count: int, *, free_axis_size: int = FREE_AXIS_SIZE
) -> Examples:
    """Return up to `count` examples: fewer where there are fewer, or where they are large (MOST_ELEMENTS)."""
    samples = _read(manifest, folder) if folder else None
    if samples is None:
        shapes = [example_shape(manifest, spec, free_axis_size=free_axis_size) for spec in manifest.inputs]
        count = max(1, min(count, MOST_ELEMENTS // max(1, sum(map(math.prod, shapes)))))
        rng = np.random.default_rng(0)
        arrays = [_made_up(spec, (count, *shape), rng) for spec, shape in zip(manifest.inputs, shapes, strict=True)]
        return Examples(arrays, count, None, is_made_up=True)
    arrays, truths = samples
    n_elements = sum(array[0].size for array in arrays)
    count = max(1, min(count, len(arrays[0]), MOST_ELEMENTS // max(1, n_elements)))
    taken = [_fitted(array[:count], spec) for array, spec in zip(arrays, manifest.inputs, strict=True)]
    named = None if truths is None else [_name_of(truth, manifest.labels) for truth in truths[:count].tolist()]
    return Examples(taken, count, named, is_made_up=False)


def example_shape(manifest: Manifest, spec: TensorSpec, *, free_axis_size: int) -> tuple[int, ...]:
    """Return the shape of one example of an input, as clients send it: a row without its batch axis, or the tensor."""
    if spec.has_any_rank:
        return (free_axis_size,)
    shape = spec.inner_shape if manifest.has_rows else spec.shape
    batch_axis = None if manifest.has_rows else spec.batch_axis
    return tuple(
        (1 if axis == batch_axis else free_axis_size) if size is None else size for axis, size in enumerate(shape)
    )


def _read(manifest: Manifest, folder: Path) -> tuple[list[Array], Array | None] | None:
    """Return the arrays of the first file that has all inputs, and its truths; None without such a file."""
    for path in sorted((folder / SAMPLES_DIR).glob("*.npz")):
        try:
            # numpy leaves a file open that it opened itself and then found to be no archive.
            with path.open("rb") as opened, np.lib.npyio.NpzFile(opened) as file:
                if not all(spec.name in file for spec in manifest.inputs):
                    continue
                arrays = [file[spec.name] for spec in manifest.inputs]
                truths = file.get(TRUTHS)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            continue
        count = len(arrays[0]) if arrays[0].ndim else 0
        fits = (_fits(manifest, spec, array, count) for spec, array in zip(manifest.inputs, arrays, strict=True))
        if count and all(fits):
            return arrays, truths if truths is not None and truths.shape == (count,) else None
    return None


def _fits(manifest: Manifest, spec: TensorSpec, array: Array, count: int) -> bool:
    if array.shape[:1] != (count,) or (array.dtype.kind in "US") != spec.is_string:
        return False
    wanted, shape = spec.inner_shape if manifest.has_rows else spec.shape, array.shape[1:]
    if spec.has_any_rank:
        return True
    return len(shape) == len(wanted) and all(want in (None, have) for have, want in zip(shape, wanted, strict=True))


def _fitted(array: Array, spec: TensorSpec) -> Array:
    if spec.is_string:
        return array.astype(str).astype(object)
    if array.dtype == np.uint8 and spec.range and spec.numpy_dtype.kind == "f":
        low, high = spec.range
        array = low + array.astype(np.float64) * ((high - low) / 255)
    return array.astype(spec.numpy_dtype)


def _name_of(truth: object, labels: tuple[str, ...]) -> str:
    return labels[truth] if isinstance(truth, int) and 0 <= truth < len(labels) else str(truth)


def _made_up(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if spec.is_string:
        return np.full(shape, _TEXT, dtype=object)
    low, high = spec.range or (0.0, 1.0)
    if spec.numpy_dtype.kind == "f":
        return (
            (low + rng.random(shape) * (high - low)).clip(low, high).round(3).clip(low, high).astype(spec.numpy_dtype)
        )
    if spec.numpy_dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    # Whole numbers are often places in a table: the least two are in every one.
    least = int(np.ceil(low))
    return rng.integers(least, min(int(high), least + 1) + 1, shape).astype(spec.numpy_dtype)
