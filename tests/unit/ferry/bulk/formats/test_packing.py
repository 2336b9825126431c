"""Packed files: recognised by content and name, unpacked in pieces, damage named."""

import gzip
import io

import pyarrow as pa
import pytest

from ferry.bulk.formats.packing import packing_of, unpacked_blocks, unpacked_head, unpacked_name
from ferry.errors import InvalidInputError

TEXT = b"x,y\n" + b"1,2\n" * 10_000


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


PACKED = {"gzip": gzip.compress, "zstd": zstd}


@pytest.mark.parametrize("packing", PACKED)
def test_unpacked_when_it_is_whole_then_the_content_and_the_file_stays_open(packing: str) -> None:
    file = io.BytesIO(PACKED[packing](TEXT) + PACKED[packing](b"more"))
    assert unpacked_head(file, packing, 5) == TEXT[:5]
    blocks = list(unpacked_blocks(file, packing, 1000))
    assert (b"".join(blocks), max(map(len, blocks))) == (TEXT + b"more", 1000)
    assert not file.closed


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:20], lambda b: b + b"junk"])
def test_unpacked_when_it_is_damaged_then_it_says_so(packing: str, damage) -> None:
    with pytest.raises(InvalidInputError, match="cannot be unpacked"):
        list(unpacked_blocks(io.BytesIO(damage(PACKED[packing](TEXT))), packing))


def test_unpacked_when_a_byte_is_changed_then_gzip_knows_it() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-6] ^= 1  # of the checksum
    with pytest.raises(InvalidInputError, match="cannot be unpacked"):
        list(unpacked_blocks(io.BytesIO(bytes(data)), "gzip"))


@pytest.mark.parametrize(
    ("filename", "head", "packing", "inner"),
    [("a.csv.gz", b"\x1f\x8b\x08", "gzip", "a.csv"), ("a.CSV.GZ", b"\x1f\x8b", "gzip", "a.CSV"),
     ("a.jsonl.zst", b"\x28\xb5\x2f\xfd", "zstd", "a.jsonl"), ("a.csv", b"x,y", None, "a.csv"), ("a", b"", None, "a")],
)  # fmt: skip
def test_packing_of_when_name_and_content_agree_then_it_is_known(
    filename: str, head: bytes, packing: str | None, inner: str
) -> None:
    assert packing_of(filename, head) == packing
    assert unpacked_name(filename) == inner


@pytest.mark.parametrize(
    ("filename", "head", "said"),
    [("a.csv", b"\x1f\x8b", "add .gz to its name"), ("a.csv", b"\x28\xb5\x2f\xfd", "add .zst"),
     ("a.csv.gz", b"x,y\n", "not gzip"), ("a.csv.gz", b"\x28\xb5\x2f\xfd", "its content is zstd")],
)  # fmt: skip
def test_packing_of_when_they_disagree_then_it_says_what_to_do(filename: str, head: bytes, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        packing_of(filename, head)


@pytest.mark.parametrize("low", [0x50, 0x5A, 0x5F])
def test_unpacked_when_frames_without_data_stand_between_then_they_are_skipped(low: int) -> None:
    nothing = bytes((low, 0x2A, 0x4D, 0x18)) + b"\4\0\0\0size"
    data = nothing + zstd(TEXT) + nothing + zstd(b"more") + nothing
    assert packing_of("a.csv.zst", data) == "zstd"
    assert unpacked_head(io.BytesIO(data), "zstd", 5) == TEXT[:5]
    assert b"".join(unpacked_blocks(io.BytesIO(data), "zstd")) == TEXT + b"more"


def test_packing_of_when_a_frame_of_no_known_name_begins_then_it_is_not_packed() -> None:
    assert packing_of("a.bin", b"\x50\x2a\x4d\x18\4\0\0\0size") is None
