"""Packed files: `.gz` and `.zst`, recognised by their first bytes and read as a stream. Knows no format of rows."""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, BinaryIO

from ferry.errors import InvalidInputError

MIB = 1024 * 1024
_MAGICS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
# A frame of zstd that holds no data, as pzstd writes it (RFC 8878, section 3.1.2).
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_SUFFIXES = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}


def packing_of(filename: str, head: bytes) -> str | None:
    """Return how a file is packed, `gzip` or `zstd`; None where it is not.

    Raises:
        InvalidInputError: its name says something else than its content.
    """
    suffix = PurePath(filename).suffix.lower()
    named = _SUFFIXES.get(suffix)
    found = next((kind for kind, magic in _MAGICS.items() if head.startswith(magic)), None)
    if named == "zstd" and _SKIPPABLE.match(head):  # of LZ4 too, so the name decides
        found = named
    if found and not named:
        ending = ".gz" if found == "gzip" else ".zst"
        remedy = f"add {ending} to its name, as in rows.csv{ending}"
        raise InvalidInputError(f"{filename[:80]!r} is packed with {found}; {remedy}")
    if named != found:
        content = found or f"not {named}"
        raise InvalidInputError(f"{filename[:80]!r} is named {suffix}, its content is {content}; name it as it is")
    return found


def unpacked_name(filename: str) -> str:
    """Return a file's name without the suffix of its packing."""
    path = PurePath(filename)
    return path.stem if path.suffix.lower() in _SUFFIXES else filename


class _Source(io.RawIOBase):
    """Reads another file and does not close it: pyarrow closes what it reads from."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def unpacked_blocks(file: BinaryIO, packing: str, block_bytes: int = MIB) -> Iterator[bytes]:
    """Yield a packed file's content, up to `block_bytes` at a time.

    Raises:
        InvalidInputError: the file is damaged or ends too early.
        ImportError: the package that unpacks `zstd` is not installed here.
    """
    file.seek(0)
    stream: Any
    if packing == "gzip":
        stream = gzip.GzipFile(fileobj=file, mode="rb")
    else:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy, and not installed everywhere

        stream = pa.CompressedInputStream(pa.PythonFile(_Source(file), "r"), packing)
    try:
        while block := stream.read(block_bytes):
            yield block
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidInputError(f"the file cannot be unpacked, it is damaged or not whole: {error}") from None


def unpacked_head(file: BinaryIO, packing: str, n_bytes: int) -> bytes:
    """Return the first `n_bytes` of a packed file's content; raises as `unpacked_blocks` does."""
    head = b""
    for block in unpacked_blocks(file, packing, n_bytes):
        head += block
        if len(head) >= n_bytes:
            break
    return head[:n_bytes]
