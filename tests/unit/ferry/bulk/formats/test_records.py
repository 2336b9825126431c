"""Where records end: as Python's csv reader has them, however the text is cut into blocks."""

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.base import MIB
from ferry.bulk.formats.records import Record, RecordError, Scan, line_at, read_blocks, records

MAX = 10**6


def found(data: bytes, scan: Scan | None = None, block: int = MIB) -> list[Record]:
    file = io.BytesIO(data)
    whole = list(read_blocks(file))
    # Blocks never part \r\n; `read_blocks` sees to that.
    blocks = [data[start : start + block] for start in range(0, len(data), block)] if block < MIB else whole
    return list(records(blocks, scan or Scan(",", MAX)))


def texts(data: bytes, block: int = MIB) -> list[bytes]:
    return [data[record.start : record.end] for record in found(data, block=block)]


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('ab,"\n'), max_size=40), st.integers(1, 8))
@example('a"\n"b"\n', 1)
@example('a,"b\n""c"\nd', 3)
@example('"a""\n"",\n"\n', 2)
def test_records_when_quotes_are_anywhere_then_as_pythons_reader_has_them(text: str, block: int) -> None:
    data = text.encode()
    spans = []
    with suppress(RecordError):  # a quote that is left open; what it says is another test's
        spans = found(data, block=block)
    if not spans:
        return
    expected = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    parts = [data[record.start : record.end].decode() for record in spans]
    assert [next(csv.reader(io.StringIO(part, newline=""))) for part in parts] == expected
    for part, record in zip(parts, spans, strict=True):
        if record.is_odd:
            with pytest.raises(csv.Error):
                list(csv.reader(io.StringIO(part, newline=""), strict=True))
        else:
            list(csv.reader(io.StringIO(part, newline=""), strict=True))


@settings(deadline=None, max_examples=100)
@given(st.text(st.sampled_from('a,"\n'), max_size=30), st.integers(1, 5))
def test_records_when_the_blocks_are_smaller_then_the_same(text: str, block: int) -> None:
    def outcome(size: int) -> object:
        try:
            return found(text.encode(), block=size)
        except RecordError as error:
            return error.offset, error.is_quote

    assert outcome(block) == outcome(MIB)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_records_when_lines_end_in_any_way_then_each_is_one(ending: str, last: bool) -> None:
    text = ending.join(["a,b", "1,2", "", "3,4"]) + (ending if last else "")
    assert [part.strip() for part in texts(text.encode())] == [b"a,b", b"1,2", b"3,4"]


def test_records_when_a_crlf_lies_on_the_border_of_blocks_then_no_line_is_made() -> None:
    data = b"a" * (MIB - 1) + b"\r\n" + b"b\r\n"
    assert [record.end for record in found(data, Scan(",", 2 * MIB, has_empty=True))] == [MIB + 1, MIB + 4]


@pytest.mark.parametrize("data", [b"1\r", b"1\r\r", b"1\r\r\r\n", b"1\r\n\r", b"\r\r1", b"\r"])
@pytest.mark.parametrize("has_empty", [True, False])
def test_records_when_returns_are_at_the_end_then_as_pythons_reader_has_them(data: bytes, has_empty: bool) -> None:
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert len(found(data, Scan(",", MAX, has_empty=has_empty))) == len([row for row in rows if row or has_empty])


@pytest.mark.parametrize("data", [b"x" * 200, b"a\n" + b"x" * 200 + b"\nb\n"])
def test_records_when_one_is_too_long_then_the_limit_is_named(data: bytes) -> None:
    with pytest.raises(RecordError, match="longer than 100 bytes") as caught:
        found(data, Scan(",", 100))
    assert (caught.value.offset, caught.value.is_quote) == (data.index(b"x"), False)


def test_records_when_a_quote_is_open_for_too_long_then_it_is_named() -> None:
    with pytest.raises(RecordError, match="not closed within 100 bytes") as caught:
        found(b'a\nb,"' + b"x\n" * 100, Scan(",", 100), block=16)
    assert (caught.value.offset, caught.value.is_quote) == (4, True)


@pytest.mark.parametrize(
    ("data", "offset", "line"), [(b"a\nb\nc", 4, 3), (b"a\r\nb\r\nc", 6, 3), (b"a\rb\rc", 4, 3), (b"a", 0, 1)]
)
def test_line_at_when_asked_then_the_line_of_the_byte(data: bytes, offset: int, line: int) -> None:
    assert line_at(io.BytesIO(data), offset) == line
