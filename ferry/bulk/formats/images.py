"""ZIP of PNG and JPEG images: a row each, made as the manifest's `preprocess` says. Comes in, never goes out.

A member's name is its row's id. An image that cannot be read fails alone.
"""

import io
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ferry.bulk.formats.archives import READ_ERRORS, check_name, open_archive
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
)
from ferry.bulk.formats.casting import cast_rows
from ferry.errors import InvalidInputError
from ferry.manifest import Preprocess, TensorSpec
from ferry.tensors import Array

_KINDS = ("PNG", "JPEG")
_DEEP_MODES = ("I", "F")  # more than 8 bits a channel, which Pillow would clip
_WHITE = 255
_NO_OUTPUT = "images are no output format; ask for jsonl, csv, npy, npz, parquet or arrow"


class Images:
    """The format `images`."""

    name = "images"
    media_type = "application/zip"
    suffix = ".zip"

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check the archive's directory and cut its members; no image is decoded yet."""
        try:
            _input(rules)
            members = _members(open_archive(file, rules.limits))
        except InvalidInputError as error:
            return Index.failed("invalid_file", error.detail)
        if fault := rows_fault(len(members), rules, "images") or no_join_fault(rules, "a ZIP of images"):
            return fault
        faults, seen, cutter = [], set[str](), Cutter(rules)
        for number, member in enumerate(members, 1):
            try:
                check_name(member.filename)
            except InvalidInputError as error:
                faults.append(FileFault("unsafe_member_name", error.detail, number))
            if member.filename in seen:
                detail = f"the archive holds {member.filename[:80]!r} twice"
                faults.append(FileFault("duplicate_custom_id", detail, number))
            seen.add(member.filename)
            cutter.add(member.file_size, dict, dict)
            if len(faults) >= rules.max_faults:
                break
        cutter.close({})
        return Index(cutter.rows, cutter.done(), tuple(faults))

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Decode the chunk's images."""
        spec, preprocess = _input(rules)
        archive = open_archive(file, rules.limits)
        members = _members(archive)[chunk.first : chunk.first + chunk.rows]
        if len(members) != chunk.rows:
            raise InvalidInputError(f"{len(members)} images where {chunk.rows} were indexed; was the file replaced?")
        faults: list[RowFault] = []
        same: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
        for position, member in enumerate(members):
            try:
                row = _row(_decode(archive, member, preprocess, rules.limits), spec, preprocess)
                same.setdefault(row.shape, []).append((position, row))
            except InvalidInputError as error:
                faults.append(input_fault(position, error, rules))
        groups = tuple(
            Group.plain([position for position, _ in rows], [np.concatenate([row for _, row in rows])])
            for rows in same.values()
        )
        numbers = list(range(chunk.first + 1, chunk.first + chunk.rows + 1))
        return ChunkRows([member.filename for member in members], numbers, groups, tuple(faults))

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
    pixels: Array = np.asarray(image).reshape((image.height, image.width, preprocess.channels))
    if preprocess.invert:
        pixels = _WHITE - pixels
    if preprocess.scale != 1.0 or preprocess.mean or preprocess.std:
        pixels = pixels.astype(np.float32) * np.float32(preprocess.scale)
        if preprocess.mean:
            pixels = pixels - np.asarray(preprocess.mean, np.float32)
        if preprocess.std:
            pixels = pixels / np.asarray(preprocess.std, np.float32)
    if preprocess.layout == "CHW":
        pixels = pixels.transpose(2, 0, 1)
    elif preprocess.layout == "HW":
        pixels = pixels[:, :, 0]
    if spec.numpy_dtype.kind != "f" and pixels.dtype.kind == "f":
        pixels = np.rint(pixels).astype(np.int64)
    return np.ascontiguousarray(pixels)[np.newaxis]


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


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the members that are rows: no folders, nor what macOS packs beside them."""
    return [
        each
        for each in archive.infolist()
        if not each.is_dir()
        and not each.filename.startswith("__MACOSX/")
        and each.filename.rsplit("/", 1)[-1] != ".DS_Store"
    ]


def _decode(archive: zipfile.ZipFile, member: zipfile.ZipInfo, preprocess: Preprocess, limits: Limits) -> Image.Image:
    if member.file_size > limits.max_row_bytes:
        raise InvalidInputError(f"the image has {member.file_size} bytes, the limit is {limits.max_row_bytes}")
    try:
        data = archive.read(member)
    except READ_ERRORS as error:
        raise InvalidInputError(f"the image cannot be unpacked: {str(error)[:200]}") from None
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is a warning; ours stands below and holds before a pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_KINDS) as image:
                return _convert(image, preprocess, limits)
    except Image.DecompressionBombError:
        raise InvalidInputError(f"the image has over {limits.max_pixels} pixels, the limit") from None
    except UnidentifiedImageError:
        raise InvalidInputError("this is neither a PNG nor a JPEG image") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InvalidInputError(f"the image cannot be decoded: {str(error)[:200]}") from None


def _convert(image: Any, preprocess: Preprocess, limits: Limits) -> Image.Image:
    n_pixels = image.width * image.height
    if n_pixels > limits.max_pixels:
        detail = f"the image has {image.width} x {image.height} pixels, the limit is {limits.max_pixels} in all"
        raise InvalidInputError(detail)
    if image.mode.startswith(_DEEP_MODES):
        raise InvalidInputError("the image has more than 8 bits per channel; save it with 8")
    converted: Image.Image = image.convert(preprocess.mode)
    return converted
