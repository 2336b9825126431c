"""Rows that a model takes, to try it with: real ones that lie beside it, else made up from its signature.

Real ones are `samples/*.npz` in a version's folder: an array (N, *inner) for each input, by its name, and optionally
`y` (N), what each row is. Bytes (uint8) of an input of floats that has a range are spread over it: 255 is its end.
Knows nothing of HTTP, Redis or onnxruntime.
"""

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
    """Rows. arrays: (n_rows, *inner) each, in the manifest's order. truths: what each row is, where that is known."""

    arrays: list[Array]
    n_rows: int
    truths: list[str] | None
    is_made_up: bool


def examples_of(
    manifest: Manifest, folder: Path | None, count: int, *, free_axis_size: int = FREE_AXIS_SIZE
) -> Examples:
    """Return up to `count` rows: fewer where there are fewer, or where rows are large (MOST_ELEMENTS)."""
    samples = _read(manifest, folder) if folder else None
    if samples is None:
        count = max(1, min(count, MOST_ELEMENTS // max(1, _row_elements(manifest, free_axis_size))))
        rng = np.random.default_rng(0)
        arrays = [_made_up(spec, count, free_axis_size, rng) for spec in manifest.inputs]
        return Examples(arrays, count, None, is_made_up=True)
    arrays, truths = samples
    row_elements = sum(array[0].size for array in arrays)
    count = max(1, min(count, len(arrays[0]), MOST_ELEMENTS // max(1, row_elements)))
    rows = [_fitted(array[:count], spec) for array, spec in zip(arrays, manifest.inputs, strict=True)]
    named = None if truths is None else [_name_of(truth, manifest.labels) for truth in truths[:count].tolist()]
    return Examples(rows, count, named, is_made_up=False)


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
        n_rows = len(arrays[0]) if arrays[0].ndim else 0
        if n_rows and all(_fits(array, spec, n_rows) for array, spec in zip(arrays, manifest.inputs, strict=True)):
            return arrays, truths if truths is not None and truths.shape == (n_rows,) else None
    return None


def _fits(array: Array, spec: TensorSpec, n_rows: int) -> bool:
    return (
        array.ndim == len(spec.shape)
        and len(array) == n_rows
        and all(want in (None, have) for have, want in zip(array.shape[1:], spec.inner_shape, strict=True))
        and (array.dtype.kind in "US") == spec.is_string
    )


def _fitted(array: Array, spec: TensorSpec) -> Array:
    if spec.is_string:
        return array.astype(str).astype(object)
    if array.dtype == np.uint8 and spec.range and spec.numpy_dtype.kind == "f":
        low, high = spec.range
        array = low + array.astype(np.float64) * ((high - low) / 255)
    return array.astype(spec.numpy_dtype)


def _name_of(truth: object, labels: tuple[str, ...]) -> str:
    return labels[truth] if isinstance(truth, int) and 0 <= truth < len(labels) else str(truth)


def _made_up(spec: TensorSpec, count: int, free_axis_size: int, rng: np.random.Generator) -> Array:
    shape = (count, *(free_axis_size if size is None else size for size in spec.inner_shape))
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


def _row_elements(manifest: Manifest, free_axis_size: int) -> int:
    return sum(
        int(np.prod([free_axis_size if size is None else size for size in spec.inner_shape]))
        for spec in manifest.inputs
    )
