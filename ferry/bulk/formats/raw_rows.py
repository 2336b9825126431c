"""Rows of raw elements: read in blocks into the array that the model gets, cast and checked while they are in cache."""

import io
import math
import mmap
import os
from typing import Any, BinaryIO, cast

import numpy as np

from ferry.bulk.formats.base import MIB, Chunk
from ferry.bulk.formats.casting import cast_rows, fit_shape
from ferry.bulk.formats.npy_header import NpyHeader
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.tensors import Array

# Half of the second-level cache of a usual core: what was just copied is checked before it leaves.
_BLOCK_BYTES = MIB


def read_rows(
    file: BinaryIO, start: int, chunk: Chunk, header: NpyHeader, spec: TensorSpec
) -> tuple[Array, dict[int, str]]:
    """Read a chunk's rows of the array whose first element is at byte `start`.

    Returns:
        The rows as rows of `spec`, and why for each row that does not fit. Shape: (rows, *inner).

    Raises:
        InvalidInputError: when the file ends before.
    """
    if header.is_fortran:
        return cast_rows(spec, _columns_as_rows(file, start, chunk, header, spec))
    file.seek(start + chunk.first * header.row_bytes)
    return _read_next(file, chunk.rows, header, spec)


def _columns_as_rows(file: BinaryIO, start: int, chunk: Chunk, header: NpyHeader, spec: TensorSpec) -> Array:
    """Read rows of an array in column order: a piece of each column, put beside the others."""
    n_columns, size = math.prod(header.shape[1:]), header.dtype.itemsize
    columns: Array = np.empty((n_columns, chunk.rows), header.dtype)
    for number in range(n_columns):
        file.seek(start + (number * header.shape[0] + chunk.first) * size)
        fill(file, columns[number])
    # The last axis varies slowest, so the columns lie in the order of the axes reversed.
    rows = columns.reshape((*reversed(header.shape[1:]), chunk.rows)).T
    return np.ascontiguousarray(rows).reshape((chunk.rows, *(fit_shape(spec, header.shape[1:]) or header.shape[1:])))


def _read_next(file: BinaryIO, n_rows: int, header: NpyHeader, spec: TensorSpec) -> tuple[Array, dict[int, str]]:
    """Read the next rows of a file; return them as rows of `spec`, and why for each row that does not fit.

    Shape: (n_rows, *inner). A local file of the model's dtype is mapped and not copied; its pages stay as long as the
    array. Else the bytes are copied once where the dtype is the model's, or once and cast.

    Raises:
        InvalidInputError: when the file ends before.
    """
    inner = fit_shape(spec, header.shape[1:]) or header.shape[1:]
    is_same = header.dtype == spec.numpy_dtype
    mapped = _mapped(file, n_rows * header.row_bytes) if is_same else None
    if mapped is not None:
        rows: Array = mapped.view(header.dtype).reshape((n_rows, *inner))
        return cast_rows(spec, rows)
    rows = np.empty((n_rows, *inner), spec.numpy_dtype)
    step = max(1, _BLOCK_BYTES // max(1, header.row_bytes))
    bad: dict[int, str] = {}
    for start in range(0, n_rows, step):
        n_block = min(step, n_rows - start)
        block = rows[start : start + n_block] if is_same else np.empty((n_block, *inner), header.dtype)
        fill(file, block)
        fitting, wrong = cast_rows(spec, block)
        if fitting is not block:
            rows[start : start + n_block] = fitting
        bad.update({start + row: why for row, why in wrong.items()})
    return rows, bad


def _mapped(file: BinaryIO, n_bytes: int) -> Array | None:
    """Return the next bytes of a file as they lie in the page cache; None where it cannot be mapped.

    Whoever cuts a mapped file short ends this process; the storage only ever replaces files whole.

    Raises:
        InvalidInputError: when the file ends before.
    """
    if not isinstance(file, io.BufferedReader) or not isinstance(file.raw, io.FileIO) or not n_bytes:
        return None
    start = file.tell()
    missing = start + n_bytes - os.fstat(file.fileno()).st_size
    if missing > 0:
        raise InvalidInputError(f"the file ends {missing} bytes before the end of what was indexed; was it replaced?")
    skipped = start % mmap.ALLOCATIONGRANULARITY
    try:
        pages = mmap.mmap(
            file.fileno(), skipped + n_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ,
            offset=start - skipped,
        )  # fmt: skip
    except (OSError, ValueError):  # a file system that maps nothing
        return None
    file.seek(n_bytes, os.SEEK_CUR)
    return np.frombuffer(pages, np.uint8, n_bytes, skipped)


def fill(file: BinaryIO, array: Array) -> None:
    """Read the next bytes of a file into an array in row order.

    Raises:
        InvalidInputError: when the file ends before.
    """
    rest = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    while rest:
        n_read = cast(Any, file).readinto(rest)
        if not n_read:
            raise InvalidInputError(
                f"the file ends {len(rest)} bytes before the end of what was indexed; was it replaced?"
            )
        rest = rest[n_read:]
