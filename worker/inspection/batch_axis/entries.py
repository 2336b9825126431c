"""The entries of small tensors as arrays of sizes: read from the file, and put into shape."""

import math
from typing import Any

import numpy as np
import onnx

from worker.inspection.batch_axis.sizes import MaybeSize, Size
from worker.inspection.batch_axis.values import Dims, Value, numbers

# Arrays of Size or None.
Entries = np.ndarray[Any, np.dtype[np.object_]]
# Longer tensors are no shapes.
MAX_ENTRIES = 64


def stored_entries(tensor: onnx.TensorProto) -> Dims | None:
    """Return the entries of a small stored tensor; one that is no whole number is None."""
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_ENTRIES:
        return None
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type == onnx.TensorProto.STRING:
        return None
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError):
        return None
    return whole(array)


def whole(array: np.ndarray) -> Dims:
    """Return the numbers of an array; one that is no whole number is None."""
    found: list[MaybeSize] = []
    for number in array.reshape(-1).tolist():
        is_whole = isinstance(number, int | float) and abs(number) <= 2**63 and number == int(number)
        found.append(Size(int(number)) if is_whole else None)
    return tuple(found)


def array_of(value: Value | None) -> Entries | None:
    """Return the entries in their shape; all None where only the shape is known."""
    shape = None if value is None else numbers(value.dims)
    if value is None or shape is None or math.prod(shape) > MAX_ENTRIES:
        return None
    entries = value.entries if value.entries is not None else (None,) * math.prod(shape)
    return filled(entries, tuple(shape))


def filled(entries: Dims, shape: tuple[int, ...]) -> Entries | None:
    """Return entries as an array of this shape, None where they do not fit."""
    if len(entries) != math.prod(shape):
        return None
    found = np.empty(len(entries), dtype=object)
    found[:] = entries
    return found.reshape(shape)


def vector(entries: Dims) -> Entries:
    """Return an array with one axis."""
    found = np.empty(len(entries), dtype=object)
    found[:] = entries
    return found


def scalar(entry: MaybeSize) -> Entries:
    """Return an array without axes."""
    return vector((entry,)).reshape(())


def as_array(found: Any) -> Entries:
    """Undo numpy's habit of returning the object itself in place of an array without axes."""
    return found if isinstance(found, np.ndarray) else scalar(found)
