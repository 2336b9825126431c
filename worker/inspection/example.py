"""The example of real inputs (`--example FILE.npz`): read, and checked against the signature. Runs nothing."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ferry.errors import InvalidInputError
from ferry.tensors import Array
from worker.inspection.batch_axes import BatchAxes
from worker.inspection.made_up_rows import Rows
from worker.inspection.signature import Input, Signature

# What zipfile, zlib and numpy raise on a file that is damaged, encrypted, or announces more than fits in memory.
_UNREADABLE = (
    AttributeError, BadZipFile, EOFError, KeyError, MemoryError, OSError,
    RuntimeError, TypeError, ValueError, zlib.error,
)  # fmt: skip

# Arrays by input name, in the model's own layout.
Example = Mapping[str, Array]


def read_example(path: Path, signature: Signature) -> Example:
    """Return the arrays of a file that `numpy.savez` wrote: one for each input, in the model's own layout.

    Raises:
        InvalidInputError: when it is no such file, or an array is missing or does not fit; the text names it.
    """
    try:
        # Opened here, since numpy leaves a file open that is no ZIP.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = set(file.files)
            missing = [each.name for each in signature.inputs if each.name not in names]
            if missing:
                raise InvalidInputError(
                    f"--example {path.name} has no array {missing[0]!r}; "
                    f"it needs {', '.join(each.name for each in signature.inputs)}"
                )
            example = {each.name: _checked(path.name, each, file[each.name]) for each in signature.inputs}
    except _UNREADABLE as error:
        raise InvalidInputError(
            f"--example {path.name} cannot be read ({error}); write it with numpy.savez(FILE, NAME=array, ...), "
            "text as str, not object"
        ) from error
    if example and not any(array.size for array in example.values()):
        raise InvalidInputError(f"--example {path.name}: all its arrays are empty; give at least one row")
    return example


def rows_of(example: Example, choice: BatchAxes) -> Rows | None:
    """Return the example with the rows first; None where its inputs have different numbers of rows, or none."""
    rows = {name: np.moveaxis(array, choice.axes[name], 0) for name, array in example.items()}
    counts = {len(array) for array in rows.values()}
    return rows if len(counts) == 1 and counts != {0} else None


def _checked(file: str, each: Input, array: Array) -> Array:
    if reason := each.why_not(array):
        raise InvalidInputError(f"--example {file}: array {each.name!r} {reason}")
    if each.dtype == "string":
        if array.dtype.kind not in "US":
            raise InvalidInputError(f"--example {file}: array {each.name!r} is {array.dtype}, the input takes text")
        return np.char.decode(array, "utf-8").astype(object) if array.dtype.kind == "S" else array.astype(object)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(each.numpy_dtype) if np.can_cast(array.dtype, each.numpy_dtype, "same_kind") else None
    if cast is None or (cast.dtype.kind in "iu" and not np.array_equal(cast, array)):
        raise InvalidInputError(f"--example {file}: array {each.name!r} is {array.dtype}, the input takes {each.dtype}")
    return cast
