"""Headers of .npy files: read with every doubt refused, and written for a total that is known beforehand."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ferry.bulk.formats.casting import fit_shape, fits_dtype, shape_text
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a .npy file says of its array; `offset` is its first element's byte.

    is_fortran: the elements are in column order, so that a row is not in one piece.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    is_fortran: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def read_header(file: BinaryIO, what: str) -> NpyHeader:
    """Read the header at the file's position, `what` naming it in errors.

    Raises:
        InvalidInputError: not NPY, pickled objects, no rows axis.
    """
    start = file.tell()
    try:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise InvalidInputError(f"{what}: NPY version {version[0]}.{version[1]} is not read; save it as 1.0")
        shape, fortran, dtype = _READERS[version](file)
    except (ValueError, OSError, EOFError, SyntaxError, TypeError) as error:
        raise InvalidInputError(f"{what}: its NPY header cannot be read: {str(error)[:200]}") from None
    if dtype.hasobject:
        raise InvalidInputError(f"{what} holds pickled Python objects, which are never loaded; save plain numbers")
    if not shape:
        raise InvalidInputError(f"{what} is one number; expected an array whose first axis is the rows")
    return NpyHeader(shape, dtype, file.tell() - start, bool(fortran) and len(shape) > 1)


def check_header(header: NpyHeader, spec: TensorSpec, what: str) -> None:
    """Refuse an array whose dtype or shape can never be the input's.

    Raises:
        InvalidInputError: naming both.
    """
    if not fits_dtype(spec, header.dtype):
        raise InvalidInputError(f"{what} holds {header.dtype}, input {spec.name!r} takes {spec.dtype}")
    if fit_shape(spec, header.shape[1:]) is None:
        detail = f"{what} has rows of shape {header.shape[1:]}, input {spec.name!r} takes {shape_text(spec)}"
        raise InvalidInputError("; ".join((detail, *rows_first_notes([spec]))))


def rows_first_notes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return what is to be said of inputs whose rows lie along another axis in the model than in a file."""
    return tuple(
        f"in a file the rows of {spec.name!r} come first, on axis 0, though the model has them on axis "
        f"{spec.batch_axis}: save numpy.moveaxis(array, {spec.batch_axis}, 0)"
        for spec in specs
        if spec.batch_axis
    )


def header_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of an array in row order."""
    out = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    return out.getvalue()


def total_header(headers: list[NpyHeader], what: str) -> bytes:
    """Return the header of arrays one after the other.

    Raises:
        InvalidInputError: when their rows differ in shape or dtype.
    """
    first = headers[0]
    if any((header.shape[1:], header.dtype) != (first.shape[1:], first.dtype) for header in headers):
        raise InvalidInputError(f"{what} has rows of different shapes, which one array cannot hold; ask for jsonl")
    return header_bytes((sum(header.shape[0] for header in headers), *first.shape[1:]), first.dtype)
