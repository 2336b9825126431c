"""ZIP of PNG and JPEG images: a row each, made as the manifest's `preprocess` says. Input only.

A member's name is its row's id and nothing more. An image that cannot be read fails alone. Files that systems add to
archives are skipped, and the index has a note of them.
"""

import zipfile
from collections.abc import Sequence
from itertools import islice
from pathlib import PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image

from ferry.bulk.formats.archives import READ_ERRORS, directory_digest, is_folder, is_system_file, name_of, open_archive
from ferry.bulk.formats.base import (
    Chunk,
    ChunkRows,
    Cutter,
    FileFault,
    Group,
    Index,
    Limits,
    Opener,
    PartResult,
    RowFault,
    Rules,
    input_fault,
    no_join_fault,
    rows_fault,
    size_of,
)
from ferry.bulk.formats.casting import cast_rows
from ferry.bulk.formats.image_files import decode_image
from ferry.bulk.formats.pixels import rows_of_pixels
from ferry.bulk.formats.recognition import check_images
from ferry.errors import InvalidInputError
from ferry.manifest import Preprocess, TensorSpec
from ferry.tensors import Array

_SHOWN_NAMES = 3
_MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# Files without a suffix whose first bytes are looked at, where no other file is an image.
_MOST_PEEKED = 100
_NO_OUTPUT = "images are no output format; ask for jsonl, csv, npy, npz, parquet or arrow"


class _Members:
    """An archive's directory, read once for all chunks. Every chunk may bring the file opened anew.

    rows: the members that are rows. skipped: names of files that systems add. Folders are in neither.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self.archive = open_archive(file, limits)
        self.rows: list[zipfile.ZipInfo] = []
        self.skipped: list[str] = []
        for member in self.archive.infolist():
            if is_folder(member):
                continue
            if is_system_file(name := name_of(member)):
                self.skipped.append(name)
            else:
                self.rows.append(member)
        self._identity = self._identity_of(file)

    def check(self) -> None:
        """Refuse an archive of something else than images.

        Raises:
            InvalidInputError: naming what it is, with the remedy.
        """
        by_name = {name_of(member): member for member in self.rows}
        peeked = set(islice((name for name in by_name if not PurePath(name).suffix), _MOST_PEEKED))
        check_images(list(by_name), lambda name: name in peeked and _is_image(self.archive, by_name[name]))

    def is_of(self, file: BinaryIO) -> bool:
        """Say whether `file` is the file that this one began with, by its size and directory; if so, go on with it."""
        if self._identity_of(file) != self._identity:
            return False
        self.archive.fp = file
        return True

    def _identity_of(self, file: BinaryIO) -> tuple[int, bytes]:
        return size_of(file), directory_digest(file, self.archive.start_dir)


class Images:
    """The format `images`."""

    name = "images"
    media_type = "application/zip"
    suffix = ".zip"

    def __init__(self) -> None:
        self._members: _Members | None = None

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the archive's directory and cut its members; no image is decoded yet."""
        try:
            members = _Members(file, rules.limits)
            members.check()
            _input(rules)
        except InvalidInputError as error:
            return Index.failed("invalid_file", error.detail)
        if fault := rows_fault(len(members.rows), rules, "images") or no_join_fault(rules, "a ZIP of images"):
            return fault
        faults, seen, cutter = [], set[str](), Cutter(rules)
        for number, member in enumerate(members.rows, 1):
            name = name_of(member)
            if name in seen:
                faults.append(FileFault("duplicate_custom_id", f"the archive holds {name[:80]!r} twice", number))
            seen.add(name)
            cutter.add(member.file_size, dict, dict)
            if len(faults) >= rules.max_faults:
                break
        cutter.close({})
        return Index(cutter.rows, cutter.done(), tuple(faults), _notes(members.skipped))

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Decode the chunk's images."""
        spec, preprocess = _input(rules)
        found, self._members = self._members, None
        if found is None or not found.is_of(file):
            found = _Members(file, rules.limits)
        self._members = found
        members = found.rows[chunk.first : chunk.first + chunk.rows]
        if len(members) != chunk.rows:
            raise InvalidInputError(f"{len(members)} images where {chunk.rows} were indexed; was the file replaced?")
        faults: list[RowFault] = []
        same: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
        for position, member in enumerate(members):
            try:
                row = _row(_decode(found.archive, member, preprocess, rules.limits), spec, preprocess)
                same.setdefault(row.shape, []).append((position, row))
            except InvalidInputError as error:
                faults.append(input_fault(position, error, rules))
        groups = tuple(
            Group.plain([position for position, _ in rows], [np.concatenate([row for _, row in rows])])
            for rows in same.values()
        )
        numbers = list(range(chunk.first + 1, chunk.first + chunk.rows + 1))
        return ChunkRows([name_of(member) for member in members], numbers, groups, tuple(faults))

    def check_output(self, rules: Rules) -> None:
        """Refuse: nothing is written as images."""
        del rules
        raise InvalidInputError(_NO_OUTPUT)

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Refuse: nothing is written as images."""
        del out, result, rules
        raise InvalidInputError(_NO_OUTPUT)

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Refuse: nothing is written as images."""
        del parts, out
        raise InvalidInputError(_NO_OUTPUT)


def to_row(image: Image.Image, spec: TensorSpec, preprocess: Preprocess) -> Array:
    """Return an image as a row of the input, not yet checked against its range. Shape: (1, *inner)."""
    if preprocess.size is not None and image.size != preprocess.size[::-1]:
        image = image.resize(preprocess.size[::-1], Image.Resampling.BILINEAR)
    pixels: Array = np.asarray(image).reshape((1, image.height, image.width, preprocess.channels))
    return rows_of_pixels(pixels, spec, preprocess)


def _row(image: Image.Image, spec: TensorSpec, preprocess: Preprocess) -> Array:
    cast, bad = cast_rows(spec, to_row(image, spec, preprocess))
    if bad:
        raise InvalidInputError.at(spec.name, bad[0])
    return cast


def _input(rules: Rules) -> tuple[TensorSpec, Preprocess]:
    spec = rules.manifest.inputs[0]
    if len(rules.manifest.inputs) != 1 or spec.preprocess is None:
        raise InvalidInputError(
            f"{rules.manifest.ref} takes no images: its manifest needs one input that has `preprocess`"
        )
    return spec, spec.preprocess


def _notes(skipped: Sequence[str]) -> tuple[str, ...]:
    if not skipped:
        return ()
    names = ", ".join(name[:80] for name in skipped[:_SHOWN_NAMES]) + (", ..." if len(skipped) > _SHOWN_NAMES else "")
    what = "1 file that a system added was" if len(skipped) == 1 else f"{len(skipped)} files that a system added were"
    return (f"{what} skipped: {names}",)


def _is_image(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Say whether a member begins as PNG and JPEG do."""
    try:
        with archive.open(member) as file:
            return file.read(max(map(len, _MAGICS))).startswith(_MAGICS)
    except READ_ERRORS:
        return False


def _decode(archive: zipfile.ZipFile, member: zipfile.ZipInfo, preprocess: Preprocess, limits: Limits) -> Image.Image:
    if member.file_size > limits.max_row_bytes:
        raise InvalidInputError(f"the image has {member.file_size} bytes, the limit is {limits.max_row_bytes}")
    try:
        data = archive.read(member)
    except READ_ERRORS as error:
        raise InvalidInputError(f"the image cannot be unpacked: {str(error)[:200]}") from None
    return decode_image(data, preprocess, limits)
