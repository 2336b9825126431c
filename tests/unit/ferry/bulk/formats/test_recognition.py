"""Recognising a file: content first, then its name; nothing heavy is loaded for it."""

import subprocess
import sys

import pytest

from ferry.bulk.formats.recognition import recognise
from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError

NPZ = b"PK\x03\x04" + bytes(22) + b"\x05\x00\x00\x00x.npy"
# First files of archives that may hold images all the same.
FIRST = (b"x.npy", b"README.txt", b"labels.csv", b"xl/1.png", b"mimetype_a.png", b"_rels/a.png", b"docProps/a.png")
ZIP = b"PK\x03\x04" + bytes(22) + b"\x05\x00\x00\x00a.png"


@pytest.mark.parametrize(
    ("filename", "head", "name"),
    [
        ("in.jsonl", b'{"a": 1}\n', "jsonl"),
        ("in.NDJSON", b"\xef\xbb\xbf{}", "jsonl"),
        ("unnamed", b'\n {"a": 1}\n', "jsonl"),
        ("in.jsonl", b"not json", "jsonl"),
        ("in.csv", b"a,b\n1,2\n", "csv"),
        ("in.tsv", b"a\tb\n", "tsv"),
        ("in.csv", "ä".encode() * 3000, "csv"),
        ("in.csv", b"caf\xe9\n", "csv"),
        ("in.csv", "x,y\n1,2\n".encode("utf-16"), "csv"),
        ("in.csv", "x,y\n1,2\n".encode("utf-16-be"), "csv"),
        ("in.jsonl", "{}\n".encode("utf-16"), "jsonl"),
        ("in.json", b'{"a": 1}\n', "jsonl"),
        ("ORC.csv", b"ORC,b\n", "csv"),
        ("in.parquet", b"PAR1....", "parquet"),
        ("in", b"PAR1....", "parquet"),
        ("in.arrow", b"ARROW1\0\0", "arrow"),
        ("in.arrows", b"\xff\xff\xff\xff\x10", "arrow"),
        ("in.npy", b"\x93NUMPY\x01", "npy"),
        ("in.npz", NPZ, "npz"),
        ("in", NPZ, "npz"),
        ("in.zip", ZIP, "images"),
        ("../../in.zip", ZIP, "images"),
        *(
            ("in.zip", b"PK\x03\x04" + bytes(22) + len(first).to_bytes(4, "little") + first, "images")
            for first in FIRST
        ),
        ("in.npz", ZIP, "npz"),
    ],
)
def test_recognise_when_content_and_name_agree_then_the_format(filename: str, head: bytes, name: str) -> None:
    assert recognise(filename, head[:4096]) == name


@pytest.mark.parametrize(
    ("filename", "head", "said"),
    [
        ("in.csv", b"", "empty"),
        ("in.jsonl", b" \n\n", "empty"),
        ("in.npy", b"PAR1", "its content is parquet"),
        ("in.parquet", b"a,b\n", "its content is not parquet"),
        ("in.csv", b"\x00\x01", "its content is not csv"),
        ("in.bin", b"\x00\x01", "no known format"),
        ("in", b"a,b\n", "no known format"),
    ],
)
def test_recognise_when_they_disagree_or_nothing_fits_then_it_says_so(filename: str, head: bytes, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        recognise(filename, head)


def test_format_named_when_unknown_then_it_lists_what_there_is() -> None:
    with pytest.raises(InvalidInputError, match="jsonl"):
        format_named("xls")


def test_recognise_when_imported_then_neither_pyarrow_nor_pillow_is() -> None:
    names = "ferry.bulk.formats.recognition, ferry.bulk.formats.registry"
    code = f"import sys, {names}; print({{'pyarrow', 'PIL'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("filename", "head", "remedy"),
    [
        ("in.xlsx", ZIP, "save the sheet as CSV UTF-8"),
        ("in.XLS", b"\xd0\xcf\x11\xe0", "save the sheet"),
        ("in.ods", ZIP, "save the sheet"),
        ("in.csv", b"PK\x03\x04" + bytes(22) + b"\x13\x00\x00\x00[Content_Types].xml", "save the sheet"),
        ("in.csv", b"\xd0\xcf\x11\xe0" + bytes(20), "save the sheet"),
        ("in.csv", b"PK\x03\x04" + bytes(22) + b"\x11\x00\x00\x00docProps/app.xml", "save the sheet"),
        ("in.ods.zip", b"PK\x03\x04" + bytes(22) + b"\x08\x00\x00\x00mimetype", "save the sheet"),
        ("in.feather", b"FEA1....", "version 2"),
        ("in.pkl", b"\x80\x04", "Parquet or CSV"),
        ("in.sav", b"$FL2", "Parquet or CSV"),
        ("in.orc", b"ORC", "Parquet or CSV"),
        ("in.dta", b"<stata", "Parquet or CSV"),
        ("in.rds", b"\x1f\x8b", "Parquet or CSV"),
        ("in.h5", b"\x89HDF", "Parquet or CSV"),
        ("in.csv.bz2", b"BZh9", "unpack it"),
        ("in.csv.xz", b"\xfd7zXZ\0", "unpack it"),
        ("in.tgz", b"\x1f\x8b", "unpack it"),
        ("in.7z", b"7z\xbc\xaf", "unpack it"),
        ("in.json", b"[1, 2]", "an object a line"),
        ("in.txt", b"a,b\n", "name it .csv"),
        ("in", b"%PDF-1.7", "Parquet or CSV"),
        ("in", b"FEA1....", "version 2"),
    ],
)
def test_recognise_when_it_is_a_format_that_is_not_read_then_the_remedy(
    filename: str, head: bytes, remedy: str
) -> None:
    with pytest.raises(InvalidInputError, match=remedy):
        recognise(filename, head)
