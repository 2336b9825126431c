"""ZIP archives from strangers: bounded before they are opened, and while they are unpacked.

Names of members are data, never paths: nothing is ever extracted.
"""

import zipfile
import zlib
from typing import BinaryIO

from ferry.bulk.formats.base import MIB, Limits, size_of
from ferry.errors import InvalidInputError

# The end record of an archive is 22 bytes and a comment of up to 65535; zip64's stands before it.
_TAIL_BYTES = 22 + 65_535 + 76
_MAX_DIRECTORY_BYTES = 64 * MIB
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def open_archive(file: BinaryIO, limits: Limits) -> zipfile.ZipFile:
    """Open an archive whose declared sizes are within the limits.

    Raises:
        InvalidInputError: not an archive, damaged, encrypted, too much of it, or members that share bytes.
    """
    _check_directory(file)
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except READ_ERRORS as error:
        raise InvalidInputError(f"this is not a whole ZIP archive: {str(error)[:200]}") from None
    members = archive.infolist()
    unpacked, packed = sum(each.file_size for each in members), sum(each.compress_size for each in members)
    if unpacked > limits.max_bytes:
        raise InvalidInputError(f"the archive unpacks to {unpacked} bytes, the limit is {limits.max_bytes}")
    if packed > size_of(file):
        raise InvalidInputError("members of the archive share bytes, as in a zip bomb; pack it anew")
    if any(each.flag_bits & _ENCRYPTED for each in members):
        raise InvalidInputError("the archive is encrypted; send it without a password")
    return archive


def check_name(name: str) -> None:
    """Refuse a member's name that would lead out of a folder.

    Raises:
        InvalidInputError: absolute, with .. or backslashes.
    """
    if name.startswith("/") or "\\" in name or ":" in name.split("/", maxsplit=1)[0] or ".." in name.split("/"):
        raise InvalidInputError(f"member {name[:80]!r} of the archive is a path that leads outside; pack it anew")


def stored_at(file: BinaryIO, member: zipfile.ZipInfo) -> int | None:
    """Return where the bytes of an uncompressed member begin; None for a compressed one."""
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        raise InvalidInputError(f"member {member.filename[:80]!r} of the archive is damaged")
    return (
        member.header_offset
        + _LOCAL_HEADER_BYTES
        + int.from_bytes(header[26:28], "little")
        + int.from_bytes(header[28:30], "little")
    )


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory too large to be held, before it is read."""
    size = size_of(file)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    end, end64 = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    found = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if found == 2**32 - 1 and end64 >= 0:
        found = int.from_bytes(tail[end64 + 40 : end64 + 48], "little")
    if found > _MAX_DIRECTORY_BYTES:
        raise InvalidInputError(f"the archive's directory has {found} bytes, the limit is {_MAX_DIRECTORY_BYTES}")
