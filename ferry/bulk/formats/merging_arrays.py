"""The merge of NPY and NPZ: a row that failed keeps its place, so each new row takes one."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from ferry.bulk.formats.base import MIB, Opener
from ferry.bulk.formats.merging import Merge, NewRows, Windows
from ferry.bulk.formats.npy_header import NpyHeader, header_bytes, read_header
from ferry.bulk.formats.npz import member_info
from ferry.errors import InvalidInputError
from ferry.tensors import Array

WHAT = "the output"


class _Arrays(Windows[Array]):
    def __init__(self, header: NpyHeader) -> None:
        self._like = header

    def windows(self, file: BinaryIO) -> Iterator[Array]:
        header = read_header(file, WHAT)
        if (header.shape[1:], header.dtype) != (self._like.shape[1:], self._like.dtype):
            raise InvalidInputError("rows that were run again differ in shape or type from the earlier output")
        step = max(1, MIB // max(1, header.row_bytes))
        for start in range(0, header.shape[0], step):
            n_rows = min(step, header.shape[0] - start)
            data = file.read(n_rows * header.row_bytes)
            if len(data) != n_rows * header.row_bytes:
                raise InvalidInputError("an array of the output is cut off")
            yield np.frombuffer(data, header.dtype).reshape((n_rows, *header.shape[1:]))

    def count(self, rows: Array) -> int:
        return len(rows)

    def part(self, rows: Array, start: int, end: int) -> Array:
        return rows[start:end]

    def taken(self, pieces: Sequence[Array], order: Array) -> Array:
        whole: Array = np.concatenate(pieces)[order]
        return whole


def merge_arrays(format_name: str, merge: Merge, out: BinaryIO) -> None:
    """Write the merged file."""
    if format_name == "npy":
        _merge_array(merge, out)
        return
    with merge.old() as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    with zipfile.ZipFile(out, "w") as whole:
        for name in names:
            new = [NewRows(_member(each.part, name), each.at) for each in merge.new]
            own = Merge(_member(merge.old, name), new, merge.replaces, merge.n_old)
            with whole.open(member_info(name), "w", force_zip64=True) as target:
                _merge_array(own, cast(BinaryIO, target))


def _merge_array(merge: Merge, out: BinaryIO) -> None:
    with merge.old() as file:
        header = read_header(file, WHAT)
    out.write(header_bytes(header.shape, header.dtype))
    for rows in _Arrays(header).merged(merge):
        out.write(np.ascontiguousarray(rows).reshape(-1).view("u1").data)


def _member(opener: Opener, name: str) -> Opener:
    @contextmanager
    def opened() -> Iterator[Any]:
        with opener() as file, zipfile.ZipFile(file) as archive, archive.open(name) as member:
            yield member

    return cast(Opener, opened)
