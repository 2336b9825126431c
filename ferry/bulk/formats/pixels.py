"""Pixels to rows of an input, as the manifest's `preprocess` says: of images, and of table columns that hold pixels.

Knows arrays and the manifest; nothing of file formats.
"""

from typing import Any

import numpy as np

from ferry.bulk.formats.casting import cast_rows, fits_dtype
from ferry.bulk.formats.columns import InputColumns
from ferry.manifest import Preprocess, TensorSpec
from ferry.missing import find_missing
from ferry.tensors import Array

PIXEL_MAX = 255


def rows_of_pixels(pixels: Array, spec: TensorSpec, preprocess: Preprocess) -> Array:
    """Return pixels as rows of the input, not yet checked against its range.

    Shape: pixels uint8 (N, H, W, C); rows (N, *inner).
    """
    if preprocess.invert:
        pixels = PIXEL_MAX - pixels
    if preprocess.scale != 1.0 or preprocess.mean or preprocess.std:
        pixels = pixels.astype(np.float32) * np.float32(preprocess.scale)
        if preprocess.mean:
            pixels = pixels - np.asarray(preprocess.mean, np.float32)
        if preprocess.std:
            pixels = pixels / np.asarray(preprocess.std, np.float32)
    pixels = _laid_out(pixels, preprocess)
    if spec.numpy_dtype.kind != "f" and pixels.dtype.kind == "f":
        pixels = np.rint(pixels).astype(np.int64)
    return np.ascontiguousarray(pixels)


def _laid_out(pixels: Array, preprocess: Preprocess) -> Array:
    """Return (N, H, W, C) with the axes that rows have."""
    if preprocess.layout == "CHW":
        return pixels.transpose(0, 3, 1, 2)
    return pixels[..., 0] if preprocess.layout == "HW" else pixels


def takes_dtype(column: InputColumns, dtype: np.dtype[Any]) -> bool:
    """Say whether elements of `dtype` can be elements of a column, their values aside."""
    return dtype.kind in "iuf" if column.pixels else fits_dtype(column.spec, dtype)


def cast_column(column: InputColumns, values: Array, missing: Array | None = None) -> tuple[Array, dict[int, str]]:
    """Return an input's rows in its dtype, and why for each row (by its place) that does not fit.

    Shape: values (N, *inner), of pixels (N, H * W * C); rows (N, *inner). missing: where the file has no value, of the
    shape of `values`. What takes the place of a missing pixel is not preprocessed.
    """
    if column.pixels:
        return _cast_pixels(column, column.pixels, values, missing)
    return cast_rows(column.spec, values, missing)


def _cast_pixels(
    column: InputColumns, how: Preprocess, values: Array, missing: Array | None
) -> tuple[Array, dict[int, str]]:
    height, width = how.size or (0, 0)
    shape = (len(values), height, width, how.channels)
    if (is_nan := find_missing(values)) is not None:
        missing = is_nan if missing is None else missing | is_nan
    # A fraction is refused: it was scaled already, and would be scaled again without a word.
    is_pixel = (values >= 0) & (values <= PIXEL_MAX) & (values == np.rint(values))
    if missing is not None:
        is_pixel |= missing
        values = np.where(missing, 0, values)
    bad: dict[int, str] = {}
    for row in np.flatnonzero(~is_pixel.all(axis=1)).tolist():
        place = int(np.argmin(is_pixel[row]))
        bad[row] = (
            f"column {column.names[place][:40]!r} holds {values[row, place].item():g}; a pixel is a whole number from "
            f"0 to {PIXEL_MAX}; scaled values go in columns {column.spec.name}_0, {column.spec.name}_1, ..."
        )
    pixels = np.where(is_pixel, values, 0).astype(np.uint8).reshape(shape)
    laid_out = None if missing is None else _laid_out(missing.reshape(shape), how)
    cast, wrong = cast_rows(column.spec, rows_of_pixels(pixels, column.spec, how), laid_out)
    if missing is not None:
        lacking = {row: int(np.argmax(missing[row])) for row in wrong if missing[row].any()}
        wrong |= {row: f"column {column.names[place][:40]!r}: {wrong[row]}" for row, place in lacking.items()}
    return cast, wrong | bad
