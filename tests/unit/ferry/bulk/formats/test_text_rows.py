import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.bulk.formats.text_rows import TEXT_KINDS, RowCursor, RowSplitter, kind_of_media

CELLS = st.lists(st.lists(st.text('a",\n\r;é', max_size=6), min_size=2, max_size=2), max_size=12)


def delimited(cells: list[list[str]]) -> tuple[bytes, list[bytes]]:
    """Return a CSV and its records."""
    rows = []
    for row in cells:
        csv.writer(out := io.StringIO(), quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
        rows.append(out.getvalue().encode())
    return b"".join(rows), rows


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(cells=CELLS, size=st.integers(1, 9))
def test_splitter_when_bytes_come_in_any_pieces_then_whole_records(cells: list[list[str]], size: int) -> None:
    data, rows = delimited(cells)
    splitter = RowSplitter(TEXT_KINDS["csv"])
    assert [row for piece in pieces_of(data, size) for row in splitter.feed(piece)] == rows


@given(cells=CELLS, size=st.integers(1, 9), n_rows=st.integers(0, 14))
def test_cursor_when_rows_are_asked_for_then_where_they_end(cells: list[list[str]], size: int, n_rows: int) -> None:
    data, rows = delimited(cells)
    cursor = RowCursor(TEXT_KINDS["csv"], n_rows)
    for piece in pieces_of(data, size):
        cursor.feed(piece)
    found = min(n_rows, len(rows))
    assert (cursor.left, cursor.offset) == (n_rows - found, len(b"".join(rows[:n_rows])))


def test_splitter_when_json_lines_hold_quotes_then_every_break_ends_a_row() -> None:
    splitter = RowSplitter(TEXT_KINDS["jsonl"])
    assert list(splitter.feed(b'{"a": "\n"}\nx')) == [b'{"a": "\n', b'"}\n']
    assert list(splitter.feed(b"y\n")) == [b"xy\n"]


@pytest.mark.parametrize("name", TEXT_KINDS)
def test_kind_when_a_content_type_names_it_then_found(name: str) -> None:
    kind = TEXT_KINDS[name]
    assert kind_of_media(f"{kind.media_type}; charset=utf-8") == kind
    assert kind_of_media("application/json") is None
