"""Encodings: found by the mark, decoded strictly, and a byte that does not fit is named."""

import pytest

from ferry.bulk.formats.text_encoding import Decoder, EncodingError, encoding_of, looks_like_text, transcoded

TEXT = "x,größe\n1,ä€😀\n"


def again(data: bytes, encoding: str, block: int) -> str:
    return b"".join(transcoded((data[at : at + block] for at in range(0, len(data), block)), encoding)).decode()


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_transcoded_when_every_byte_fits_then_the_same_text_without_a_mark(encoding: str, block: int) -> None:
    assert again(TEXT.encode(encoding), encoding, block) == TEXT


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_encoding_of_when_there_is_a_mark_then_what_it_says(encoding: str) -> None:
    assert encoding_of(TEXT.encode(encoding)) == encoding.removesuffix("-sig")


def test_encoding_of_when_there_is_no_mark_then_utf_8_or_what_was_asked_for() -> None:
    assert encoding_of(TEXT.encode()) == "utf-8"
    assert encoding_of(TEXT.encode("cp1252", "replace"), "cp1252") == "cp1252"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_encoding_of_when_it_looks_wide_without_a_mark_then_the_option_is_named(encoding: str) -> None:
    with pytest.raises(EncodingError, match=f"--encoding {encoding}"):
        encoding_of("x,y\n1,2\n".encode(encoding))
    assert encoding_of("x,y\n1,2\n".encode(encoding), encoding) == encoding


@pytest.mark.parametrize(("mark", "asked"), [("utf-8-sig", "cp1252"), ("utf-16", "utf-8"), ("utf-16", "cp1252")])
def test_encoding_of_when_mark_and_option_differ_then_refused(mark: str, asked: str) -> None:
    with pytest.raises(EncodingError, match="byte order mark"):
        encoding_of(TEXT.encode(mark), asked)


def check(data: bytes, encoding: str, block: int) -> None:
    decoder = Decoder(encoding)
    for at in range(0, len(data), block):
        decoder.check(data[at : at + block])
    decoder.check(b"", final=True)


@pytest.mark.parametrize("block", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("data", "encoding", "offset", "byte"),
    [
        (b"abc\xe4def", "utf-8", 3, "E4"),
        (b"ab\xe2\x82", "utf-8", 2, "E2"),
        (b"ab\x81", "cp1252", 2, "81"),
        ("ä".encode() + b"\xff", "utf-8", 2, "FF"),
        (b"abc\x80", "ascii", 3, "80"),
        ("ab".encode("utf-16-le") + b"\x00\xdc", "utf-16-le", 4, "00"),
        ("ab".encode("utf-16-le") + b"c", "utf-16-le", 4, "63"),
    ],
)
def test_decoder_when_a_byte_does_not_fit_then_its_offset_is_named(
    data: bytes, encoding: str, offset: int, byte: str, block: int
) -> None:
    with pytest.raises(EncodingError) as caught:
        check(data, encoding, block)
    assert caught.value.offset == offset
    assert f"byte 0x{byte} at offset {offset}" in caught.value.detail


@pytest.mark.parametrize(
    ("head", "is_text"),
    [(b"a,b\n", True), (b"\xe4,\n", True), (b"\x00\x01", False), (b"\x7fELF\x02\x01\x01\x00", False), (b"", True),
     (TEXT.encode("utf-16"), True), ("x,y".encode("utf-16-be"), True)],
)  # fmt: skip
def test_looks_like_text_when_asked_then_no_binary_file_is(head: bytes, is_text: bool) -> None:
    assert looks_like_text(head) is is_text
