"""ZIP archives from strangers: bounded before they are opened, and while they are unpacked.

Names of members are data, never paths: nothing is ever extracted.
"""

import hashlib
import re
import struct
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
_UTF_8 = 0x800
_UNICODE_PATH = 0x7075
_EXTRA_HEADER_BYTES = 4
_SYSTEM_FILE = re.compile(
    r"""(?:^|[/\\])                                                # a part of the name, which is
        (?:__MACOSX[/\\]                                           # a folder,
        |(?:\._[^/\\]*|\.DS_Store|Thumbs\.db|desktop\.ini)\Z)    # or the file itself
    """,
    re.IGNORECASE | re.VERBOSE,
)
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
    except UnicodeDecodeError:
        raise InvalidInputError("a name in the archive is marked as UTF-8 and is not; pack it anew") from None
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


def name_of(member: zipfile.ZipInfo) -> str:
    """Return a member's name as it was packed.

    That is UTF-8 where a flag or an extra field says so, or where it reads as such (macOS sets no flag); else cp437.
    """
    name = member.orig_filename
    if member.flag_bits & _UTF_8 or name.isascii():
        return name
    raw = name.encode("cp437")
    try:
        return (_unicode_path(member.extra, raw) or raw).decode("utf-8")
    except UnicodeDecodeError:
        return name


def is_folder(member: zipfile.ZipInfo) -> bool:
    """Say whether a member is a folder; Windows' own tools end the name of one with a backslash."""
    name = member.orig_filename
    return name.endswith("/") or (name.endswith("\\") and not member.file_size)


def is_system_file(name: str) -> bool:
    """Say whether a file is one that macOS or Windows adds to folders and archives."""
    return _SYSTEM_FILE.search(name) is not None


def directory_digest(file: BinaryIO, start: int) -> bytes:
    """Return a digest of all from the directory of an archive (`ZipFile.start_dir`) to its end."""
    file.seek(start)
    digest = hashlib.blake2b()
    while piece := file.read(MIB):
        digest.update(piece)
    return digest.digest()


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


def _unicode_path(extra: bytes, raw_name: bytes) -> bytes | None:
    """Return the name in the extra field "Unicode Path", where there is one for this name (APPNOTE 4.6.9)."""
    while len(extra) >= _EXTRA_HEADER_BYTES:
        kind, size = struct.unpack_from("<HH", extra)
        body, extra = extra[_EXTRA_HEADER_BYTES : _EXTRA_HEADER_BYTES + size], extra[_EXTRA_HEADER_BYTES + size :]
        if kind == _UNICODE_PATH and body[:1] == b"\1" and body[1:5] == struct.pack("<I", zlib.crc32(raw_name)):
            return body[5:]
    return None


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
