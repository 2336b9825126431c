from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.multipart import FormReader, PartBegin, PartData, PartEnd
from api.problems import UnsupportedMediaTypeError
from ferry.errors import MalformedRequestError

TYPE = "multipart/form-data; boundary=b"
CONTENT = st.text("\r\n-bx ", max_size=40).map(str.encode).filter(lambda each: b"\r\n--b" not in b"\r\n" + each)


def form(*contents: bytes) -> bytes:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="n%d"; filename="f.csv"\r\nX: y\r\n\r\n%b\r\n' % (number, content)
        for number, content in enumerate(contents)
    ]
    return b"".join(parts) + b"--b--\r\n"


def read(reader: FormReader, body: bytes, size: int) -> list[tuple[str, str | None, bytes]]:
    """Feed a body in pieces of a size; returns name, filename and content of each part that ended."""
    parts, begun, content = [], None, b""
    for start in range(0, len(body), size):
        for event in reader.feed(body[start : start + size]):
            if isinstance(event, PartBegin):
                begun, content = event, b""
            elif isinstance(event, PartData):
                content += event.data
            else:
                assert isinstance(event, PartEnd)
                assert begun is not None
                parts.append((begun.name, begun.filename, content))
    return parts


@given(st.lists(CONTENT, min_size=1, max_size=3), st.integers(1, 60))
def test_feed_when_a_form_comes_in_pieces_of_any_size_then_the_same_parts(contents: list[bytes], size: int) -> None:
    reader = FormReader(TYPE)
    expected = [(f"n{number}", "f.csv", content) for number, content in enumerate(contents)]
    assert read(reader, form(*contents), size) == expected
    assert reader.is_whole


@given(st.binary(max_size=200), st.integers(1, 50))
def test_feed_when_it_is_anything_then_parts_or_a_malformed_request(body: bytes, size: int) -> None:
    with suppress(MalformedRequestError):
        read(FormReader(TYPE), b"--b\r\n" + body, size)


def test_feed_when_the_last_boundary_has_not_come_then_not_whole() -> None:
    reader = FormReader(TYPE)
    read(reader, form(b"x")[:-5], 1000)
    assert not reader.is_whole


def test_feed_when_more_comes_after_the_last_boundary_then_ignored() -> None:
    reader = FormReader(TYPE)
    read(reader, form(b"x"), 1000)
    assert reader.feed(b"more") == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Füße.csv".encode(), "Füße.csv"),
        ("Füße.csv".encode("latin-1"), "Füße.csv"),
        (rb"a\"b.csv", 'a"b.csv'),
    ],
)
def test_feed_when_a_name_is_in_utf8_or_latin1_then_read(raw: bytes, expected: str) -> None:
    body = form(b"x").replace(b"f.csv", raw)
    assert read(FormReader(TYPE), body, 1000) == [("n0", expected, b"x")]


def test_feed_when_a_part_has_no_filename_then_none() -> None:
    body = form(b"x").replace(b'; filename="f.csv"', b"")
    assert read(FormReader(TYPE), body, 1000) == [("n0", None, b"x")]


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/mixed; boundary=b"])
def test_reader_when_it_is_no_form_then_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        FormReader(content_type)


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=" + "x" * 300])
def test_reader_when_there_is_no_fit_boundary_then_malformed(boundary: str) -> None:
    with pytest.raises(MalformedRequestError):
        FormReader("multipart/form-data" + boundary)


def test_reader_when_the_content_type_is_long_then_malformed_before_it_is_taken_apart() -> None:
    with pytest.raises(MalformedRequestError, match="the content type has 60030 characters, the limit is 512"):
        FormReader("multipart/form-data; boundary=" + ";" * 60_000)
