"""Missing values in the arrays of one input: found, and treated by the rule of the manifest.

Every route and every file format uses it, so that one rule holds for all: JSON null, NaN, empty cells and NA words of
CSV, nulls of Arrow and Parquet. A float is missing where it is NaN; other elements are missing where the caller says so
by a mask. Knows nothing of the formats. Infinities are not missing values.
"""

import math
from collections.abc import Sequence

import numpy as np

from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.missing_rules import REFUSE, TO_NAN
from ferry.tensors import Array

# What stands for a missing value in cells of text, for inputs other than text. The list of pandas' `read_csv`, which
# holds what R, Excel, SQL and Spark write too.
NA_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
_NA_WORDS = frozenset(NA_WORDS)


def is_missing_cell(spec: TensorSpec, cell: str) -> bool:
    """Say whether a cell of text holds no value for this input. Of a text input every cell is a value."""
    return not spec.is_string and cell.strip() in _NA_WORDS


def missing_element(spec: TensorSpec, place: int) -> bool | float | str:
    """Return what the rule puts in the place of one missing element, the `place`-th (from 0) of its row.

    Raises:
        InvalidInputError: the rule refuses missing values.
    """
    if spec.missing == REFUSE:
        shape = [size or 1 for size in spec.inner_shape]
        inner = [int(at) for at in np.unravel_index(place, shape)] if shape else []
        raise InvalidInputError.at(spec.name, refusal(spec, inner))
    return math.nan if spec.missing == TO_NAN else spec.missing


def find_missing(array: Array) -> Array | None:
    """Return where a float array has NaN, as an array of bools of its shape; None where it has none."""
    if array.dtype.kind != "f" or not array.size:
        return None
    # NaN passes through the minimum: the usual array, which has none, costs one pass and no second array.
    return np.isnan(array) if np.isnan(np.minimum.reduce(array, axis=None)) else None


def replaced(spec: TensorSpec, array: Array, missing: Array) -> Array:
    """Return an array of the input's dtype with its missing elements as the rule wants them; not for REFUSE."""
    filled = array.copy()
    filled[missing] = math.nan if spec.missing == TO_NAN else spec.missing
    return filled


def settle(
    spec: TensorSpec, array: Array, pointer: str, *, row_axis: int | None, missing: Array | None = None
) -> Array:
    """Return the array of a whole job, of the input's dtype, with its missing elements treated by the rule.

    `missing`: bools of the array's shape; None: where it has NaN. row_axis: the axis along which rows lie.

    Raises:
        InvalidInputError: the rule refuses missing values; names row and column.
    """
    if missing is None:
        missing = find_missing(array)
    if missing is None or not missing.any():
        return array
    if spec.missing != REFUSE:
        return replaced(spec, array, missing)
    index = [int(at) for at in np.unravel_index(int(missing.argmax()), missing.shape)]
    raise InvalidInputError.at(pointer, refusal_in_job(spec, index, missing.shape, row_axis=row_axis))


def refused_rows(spec: TensorSpec, missing: Array) -> dict[int, str]:
    """Return why each row (by its place) of a mask (N, *inner) is refused; nothing where the rule takes them."""
    if spec.missing != REFUSE:
        return {}
    flat = missing.reshape(len(missing), -1)
    return {
        row: refusal(spec, [int(at) for at in np.unravel_index(int(flat[row].argmax()), missing.shape[1:])])
        for row in np.flatnonzero(flat.any(axis=1)).tolist()
    }


def refusal(spec: TensorSpec, inner: Sequence[int]) -> str:
    """Return what is wrong with a row whose element at `inner` (from 0, without the batch axis) is missing."""
    hint = f"{spec.name}=nan" if spec.numpy_dtype.kind == "f" else f"{spec.name}=VALUE"
    what = f"input {spec.name!r} has a missing value (null, NaN or an empty cell){_place(spec, inner)}"
    return f"{what}; the model takes none (`ferry models add --missing {hint}` changes that)"


def refusal_in_job(spec: TensorSpec, index: Sequence[int], shape: Sequence[int], *, row_axis: int | None) -> str:
    """Return what is wrong with a job whose array, of `shape`, has a missing element at `index` (from 0)."""
    if row_axis is None or row_axis >= len(shape):
        return refusal(spec, index)
    row = f"row {index[row_axis] + 1}: " if shape[row_axis] > 1 else ""
    return row + refusal(spec, [*index[:row_axis], *index[row_axis + 1 :]])


def _place(spec: TensorSpec, inner: Sequence[int]) -> str:
    if spec.inner_shape == (1,) or not inner:
        return ""
    if len(inner) == 1:
        return f" at column {inner[0] + 1}"
    return f" at position ({', '.join(str(at + 1) for at in inner)})"
