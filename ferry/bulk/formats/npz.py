"""NPZ: arrays by input name, the first axis of each the rows; arrays by output name come back.

Row i of the outputs is row i of the inputs, as in `npy`. Where a row failed, floats are NaN. Where an output is not
floats, the array `failed` (bool, a value per row) says which rows failed; their integers are the lowest of a signed
dtype, the highest of an unsigned one, and mean nothing, as False does then.

Compressed arrays are unpacked from their start for every chunk: `numpy.savez` serves large files better than
`savez_compressed`.
"""

import zipfile
from collections.abc import Sequence
from typing import BinaryIO

from ferry.bulk.formats.archives import READ_ERRORS, open_archive, stored_at
from ferry.bulk.formats.base import (
    MIB,
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
from ferry.manifest import TensorSpec
from ferry.tensors import Array

# A fixed time in every member: the same rows make the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Npz:
    """The format `npz`."""

    name = "npz"
    media_type = "application/x-npz"
    suffix = ".npz"

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check names and headers, unpack every array once to see that it is whole, and cut the rows."""
        try:
            archive = open_archive(file, rules.limits)
            headers = _headers(archive, rules)
        except InvalidInputError as error:
            return Index.failed("invalid_file", error.detail)
        notes = rows_first_notes(rules.manifest.inputs)
        counts = {spec.name: header.shape[0] for spec, header in zip(rules.manifest.inputs, headers, strict=True)}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
            detail = f"the arrays have different numbers of rows ({listed})"
            return Index.failed("wrong_shape", "; ".join((detail, *notes)))
        n_rows = headers[0].shape[0]
        if fault := rows_fault(n_rows, rules) or no_join_fault(rules, "npz"):
            return fault
        for spec, header in zip(rules.manifest.inputs, headers, strict=True):
            if fault := _damage(archive, spec, header):
                return fault
        return Index(n_rows, cut_evenly(n_rows, sum(header.row_bytes for header in headers), rules), notes=notes)

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read the same rows of every array."""
        archive = open_archive(file, rules.limits)
        arrays, bad = [], {}
        for spec, header in zip(rules.manifest.inputs, _headers(archive, rules), strict=True):
            array, wrong = _read_member(file, archive, spec, header, chunk)
            arrays.append(array)
            bad.update({row: (spec.name, why) for row, why in wrong.items()})
        group, faults = good_rows(arrays, bad, rules)
        return ChunkRows(*numbered(chunk.first, chunk.rows), (group,), tuple(faults))

    def check_output(self, rules: Rules) -> None:
        """Refuse what plain arrays cannot hold."""
        check_arrays_only(rules, self.name)

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write the rows of a part as an archive of their own."""
        rows = OutputRows(result)
        with zipfile.ZipFile(out, "w") as archive:
            for index, spec in enumerate(rules.manifest.outputs):
                _write_array(archive, spec.name, rows.aligned(index, spec))
            if name := failed_name(rules):
                _write_array(archive, name, rows.failed())
        return len(rows.failed())

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write one archive; each array has one header and then the data of every part."""
        headers: dict[str, list[NpyHeader]] = {}
        for opener in parts:
            with opener() as part, zipfile.ZipFile(part) as archive:
                for name in archive.namelist():
                    with archive.open(name) as member:
                        headers.setdefault(name, []).append(read_header(member, f"output {name!r}"))  # type: ignore[arg-type]
        with zipfile.ZipFile(out, "w") as whole:
            for name, found in headers.items():
                with whole.open(member_info(name), "w", force_zip64=True) as target:
                    target.write(total_header(found, f"output {name!r}"))
                    for opener, header in zip(parts, found, strict=True):
                        with opener() as part, zipfile.ZipFile(part) as archive, archive.open(name) as member:
                            member.seek(header.offset)
                            copy_bytes(member, target)  # type: ignore[arg-type]


def failed_name(rules: Rules) -> str | None:
    """Return the name of the array that says which rows failed; None where NaN says it in every output."""
    outputs = rules.manifest.outputs
    if all(spec.is_float for spec in outputs):
        return None
    name = "failed"
    while any(spec.name == name for spec in outputs):
        name += "_"
    return name


def _write_array(archive: zipfile.ZipFile, name: str, array: Array) -> None:
    with archive.open(member_info(f"{name}.npy"), "w", force_zip64=True) as member:
        member.write(header_bytes(array.shape, array.dtype))
        member.write(array.reshape(-1).view("u1").data)


def member_info(filename: str) -> zipfile.ZipInfo:
    """Return how a member of an output is written."""
    return zipfile.ZipInfo(filename, _EPOCH)


def _headers(archive: zipfile.ZipFile, rules: Rules) -> list[NpyHeader]:
    names = archive.namelist()
    doubled = [name for name in set(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if doubled:
        raise InvalidInputError(f"the archive holds {doubled[0][:80]!r} twice")
    headers = []
    for spec in rules.manifest.inputs:
        if f"{spec.name}.npy" not in names:
            shown = ", ".join(name.removesuffix(".npy")[:40] for name in names[:8])
            raise InvalidInputError(f"array {spec.name!r} is missing; the archive holds {shown or 'nothing'}")
        try:
            with archive.open(f"{spec.name}.npy") as member:
                header = read_header(member, f"array {spec.name!r}")  # type: ignore[arg-type]
        except READ_ERRORS as error:
            raise InvalidInputError(f"array {spec.name!r} cannot be unpacked: {str(error)[:200]}") from None
        check_header(header, spec, f"array {spec.name!r}")
        headers.append(header)
    return headers


def _damage(archive: zipfile.ZipFile, spec: TensorSpec, header: NpyHeader) -> Index | None:
    wanted, size = header.offset + header.shape[0] * header.row_bytes, 0
    try:
        with archive.open(f"{spec.name}.npy") as member:
            while piece := member.read(MIB):
                size += len(piece)
    except READ_ERRORS as error:
        return Index.failed("invalid_file", f"array {spec.name!r} is damaged: {str(error)[:200]}")
    if size != wanted:
        return Index.failed("invalid_file", f"array {spec.name!r} takes {wanted} bytes, there are {size}")
    return None


def _read_member(
    file: BinaryIO, archive: zipfile.ZipFile, spec: TensorSpec, header: NpyHeader, chunk: Chunk
) -> tuple[Array, dict[int, str]]:
    info = archive.getinfo(f"{spec.name}.npy")
    at = stored_at(file, info)
    if at is not None:
        return read_rows(file, at + header.offset, chunk, header, spec)
    try:
        with archive.open(info) as member:
            return read_rows(member, header.offset, chunk, header, spec)  # type: ignore[arg-type]
    except READ_ERRORS as error:
        raise InvalidInputError(f"array {spec.name!r} cannot be unpacked: {str(error)[:200]}") from None
