"""NPY: one array, its first axis the rows. For models of one input, and of one output.

Row i of the output is row i of the input; a row that failed is NaN, and in the error file. So the output is floats:
NPZ holds other dtypes, with an array that says which rows failed.
"""

from collections.abc import Sequence
from typing import BinaryIO

from ferry.bulk.formats.base import (
    Chunk,
    ChunkRows,
    Index,
    Opener,
    PartResult,
    Rules,
    copy_bytes,
    cut_evenly,
    good_rows,
    no_join_fault,
    numbered,
    rows_fault,
    size_of,
)
from ferry.bulk.formats.npy_header import (
    NpyHeader,
    check_header,
    header_bytes,
    read_header,
    rows_first_notes,
    total_header,
)
from ferry.bulk.formats.ordering import OutputRows, check_arrays_only
from ferry.bulk.formats.raw_rows import read_rows
from ferry.errors import InvalidInputError


class Npy:
    """The format `npy`."""

    name = "npy"
    media_type = "application/x-npy"
    suffix = ".npy"

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the header and cut the rows."""
        try:
            header = _header(file, rules)
        except InvalidInputError as error:
            return Index.failed("invalid_file", error.detail)
        n_rows = header.shape[0]
        if fault := rows_fault(n_rows, rules) or no_join_fault(rules, "npy"):
            return fault
        size, wanted = size_of(file), header.offset + n_rows * header.row_bytes
        if size != wanted:
            return Index.failed("invalid_file", f"the array takes {wanted} bytes, the file has {size}: it is damaged")
        notes = rows_first_notes(rules.manifest.inputs)
        return Index(n_rows, cut_evenly(n_rows, header.row_bytes, rules), notes=notes)

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read rows by their offset."""
        spec, header = rules.manifest.inputs[0], _header(file, rules)
        array, bad = read_rows(file, header.offset, chunk, header, spec)
        group, faults = good_rows([array], {row: (spec.name, why) for row, why in bad.items()}, rules)
        return ChunkRows(*numbered(chunk.first, chunk.rows), (group,), tuple(faults))

    def check_output(self, rules: Rules) -> None:
        """Refuse what one array cannot hold."""
        check_arrays_only(rules, self.name)
        if len(rules.manifest.outputs) > 1:
            raise InvalidInputError(f"{rules.manifest.ref} has several outputs, npy holds one array; ask for npz")
        spec = rules.manifest.outputs[0]
        if not spec.is_float:
            detail = f"output {spec.name!r} is {spec.dtype}, which has no NaN for rows that failed; ask for npz"
            raise InvalidInputError(detail)

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write the rows of a part as an array of their own."""
        array = OutputRows(result).aligned(0, rules.manifest.outputs[0])
        out.write(header_bytes(array.shape, array.dtype))
        out.write(array.reshape(-1).view("u1").data)
        return len(array)

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write one header with all rows, then the data of each part."""
        headers = []
        for opener in parts:
            with opener() as part:
                headers.append(read_header(part, "the output"))
        out.write(total_header(headers, "the output"))
        for opener, header in zip(parts, headers, strict=True):
            with opener() as part:
                part.seek(header.offset)
                copy_bytes(part, out)


def _header(file: BinaryIO, rules: Rules) -> NpyHeader:
    if len(rules.manifest.inputs) > 1:
        names = ", ".join(spec.name for spec in rules.manifest.inputs)
        raise InvalidInputError(f"{rules.manifest.ref} has several inputs ({names}), npy holds one array; send npz")
    file.seek(0)
    header = read_header(file, "the array")
    check_header(header, rules.manifest.inputs[0], "the array")
    return header
