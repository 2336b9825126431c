"""Names of an archive's members: what they say, and which files are not the user's."""

import struct
import zipfile
import zlib

import pytest

from ferry.bulk.formats.archives import is_folder, is_system_file, name_of


def member(name: str, *, flag_bits: int = 0, size: int = 1, extra: bytes = b"") -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.orig_filename, info.flag_bits, info.file_size, info.extra = name, flag_bits, size, extra
    return info


def unicode_path(name: str, raw: bytes) -> bytes:
    body = b"\1" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


@pytest.mark.parametrize(
    "name",
    ["a.png", "/etc/passwd", "../a", "a/../../b", "..\\a", "C:/a", "C:\\a\\b.png", "12:30:05.png", "a\0b", "", " "],
)
def test_name_when_it_is_odd_then_it_is_as_it_was_packed(name: str) -> None:
    assert name_of(member(name)) == name


def test_name_when_flagged_as_utf_8_then_it_is_that() -> None:
    assert name_of(member("Füße/日本.png", flag_bits=0x800)) == "Füße/日本.png"
    assert name_of(member("├¼", flag_bits=0x800)) == "├¼"


@pytest.mark.parametrize("name", ["Füße.png", "日本.png", "e\u0301.png", "\U0001f600.png"])
def test_name_when_it_is_utf_8_without_a_flag_then_it_is_that(name: str) -> None:
    assert name_of(member(name.encode().decode("cp437"))) == name


@pytest.mark.parametrize("name", ["Fü.png", "é.png", "½.png"])
def test_name_when_it_is_cp437_then_it_is_that(name: str) -> None:
    assert name_of(member(name)) == name


def test_name_when_an_extra_field_has_it_then_that_one_if_it_is_of_this_name() -> None:
    raw = "¿½.png".encode("cp437")
    other = struct.pack("<HHI", 0x5455, 4, 7)
    assert name_of(member("¿½.png", extra=other + unicode_path("犬.png", raw))) == "犬.png"
    assert name_of(member("¿½.png", extra=unicode_path("犬.png", b"another"))) == "¿½.png"
    assert name_of(member("¿½.png", extra=b"\x75\x70\xff\xff\1")) == "¿½.png"


@pytest.mark.parametrize(
    ("name", "size", "folder"),
    [("a/", 0, True), ("a\\", 0, True), ("a\\", 5, False), ("a", 0, False), ("a\0/b", 0, False), ("a/\0", 0, False)],
)
def test_folder_when_its_name_ends_like_one_then_it_is_none_of_the_rows(name: str, size: int, folder: bool) -> None:
    assert is_folder(member(name, size=size)) is folder


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("__MACOSX/._a.png", True), ("__MACOSX/cats/._a.png", True), ("cats/__macosx/a.png", True), ("._a.png", True),
        ("cats/._a.png", True), ("cats\\._a.png", True), (".DS_Store", True), ("cats/.ds_store", True),
        ("Thumbs.db", True), ("cats\\THUMBS.DB", True), ("desktop.ini", True), ("cats/Desktop.INI", True),
        ("a.png", False), ("__MACOSX", False), ("my__MACOSX/a.png", False), (".hidden.png", False), ("_.a.png", False),
        ("thumbs.db.png", False), ("desktop.ini/a.png", False), ("a.DS_Store", False),
    ],
)  # fmt: skip
def test_system_file_when_macos_or_windows_adds_it_then_it_is_known(name: str, theirs: bool) -> None:
    assert is_system_file(name) is theirs
