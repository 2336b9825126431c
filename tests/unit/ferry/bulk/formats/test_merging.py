"""Rows that were run again, put in their places: each format against the same merge of plain lists."""

import io
import zipfile
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats import merging_arrays, merging_tables, merging_text
from ferry.bulk.formats.base import Opener
from ferry.bulk.formats.merging import Merge, NewRows, merge_into
from ferry.errors import InvalidInputError

HEADER = {"csv": b'"n"\n', "tsv": b'"n"\n', "jsonl": b""}
FORMATS = ("jsonl", "csv", "tsv", "parquet", "arrow", "npy", "npz")


def file_of(name: str, numbers: list[int], *, is_part: bool = False) -> bytes:
    """Return a file whose rows are these numbers."""
    out = io.BytesIO()
    array = np.array(numbers, np.int64).reshape(-1, 1)
    table = pa.table({"n": pa.array(numbers, pa.int64()), "t": pa.array([str(n) for n in numbers]).dictionary_encode()})
    if name in HEADER:
        return HEADER[name] + b"".join(b'"%d\n"\n' % n if name != "jsonl" else b"%d\n" % n for n in numbers)
    if name == "parquet":
        pq.write_table(table, out, row_group_size=3)
    elif name == "arrow":
        with (pa.ipc.new_stream if is_part else pa.ipc.new_file)(out, table.schema) as writer:
            writer.write_table(table)
    elif name == "npy":
        np.save(out, array)
    else:
        np.savez(out, a=array, b=-array)
    return out.getvalue()


def numbers_of(name: str, data: bytes) -> list[int]:
    if name in HEADER:
        assert data.startswith(HEADER[name])
        return [int(each) for each in data.removeprefix(HEADER[name]).replace(b'"', b"").split()]
    if name == "parquet":
        table = pq.read_table(io.BytesIO(data))
    elif name == "arrow":
        table = pa.ipc.open_file(io.BytesIO(data)).read_all()
    elif name == "npy":
        return np.load(io.BytesIO(data)).reshape(-1).tolist()
    else:
        found = np.load(io.BytesIO(data))
        assert np.array_equal(found["a"], -found["b"])
        return found["a"].reshape(-1).tolist()
    assert table.column("t").to_pylist() == [str(n) for n in table.column("n").to_pylist()]
    return table.column("n").to_pylist()


def opener(data: bytes) -> Opener:
    return lambda: io.BytesIO(data)


def merged(name: str, old: list[int], parts: list[tuple[list[int], list[int]]], **how: Any) -> list[int]:
    """Merge parts of (numbers, places) into a file."""
    new = [
        NewRows(opener(file_of(name, rows, is_part=True)), lambda at=at: np.array(at, np.int64)) for rows, at in parts
    ]
    merge = Merge(opener(file_of(name, old)), new, **{"replaces": False, "n_old": len(old)} | how)
    out = io.BytesIO()
    merge_into(name, merge, out)
    return numbers_of(name, out.getvalue())


@pytest.fixture(params=[1, 7, 2**20])
def small_windows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging_text, "MIB", request.param)
    monkeypatch.setattr(merging_arrays, "MIB", 8 * request.param)
    monkeypatch.setattr(merging_tables, "WINDOW_ROWS", request.param)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(
    is_old=st.lists(st.booleans(), max_size=14), cuts=st.sets(st.integers(0, 14), max_size=3), replaces=st.booleans()
)
def test_merge_when_rows_come_back_then_all_are_in_order(
    name: str, is_old: list[bool], cuts: set[int], replaces: bool
) -> None:
    n_rows, replaces = len(is_old), replaces or name in ("npy", "npz")
    good = [row for row in range(n_rows) if is_old[row]]
    again = [row for row in range(n_rows) if not is_old[row]]
    old = [row if is_old[row] else 999 for row in range(n_rows)] if replaces else good
    places = again if replaces else [sum(is_old[:row]) for row in again]
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(again)), len(again)]
    parts = [(again[a:b], places[a:b]) for a, b in pairwise(bounds)]
    assert merged(name, old, parts, replaces=replaces) == list(range(n_rows))


@pytest.mark.parametrize("name", FORMATS)
def test_merge_when_the_places_of_a_part_are_not_known_then_it_is_left_out(name: str) -> None:
    assert merged(name, [0, 1, 9, 3], [([7], [-1]), ([2], [2])], replaces=True) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", FORMATS)
def test_merge_when_the_earlier_output_has_other_rows_then_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="has 3 rows where 4 belong"):
        merged(name, [0, 1, 2], [], n_old=4)


@pytest.mark.parametrize("name", FORMATS)
def test_merge_when_a_part_has_other_rows_than_places_then_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="has 2 rows, 1 places are known"):
        merged(name, [0, 1, 2], [([5, 6], [1])])


def test_merge_when_columns_differ_then_refused() -> None:
    part = NewRows(opener(b'"m"\n"1"\n'), lambda: np.array([0]))
    with pytest.raises(InvalidInputError, match="other columns"):
        merge_into("csv", Merge(opener(b'"n"\n"2"\n'), [part], False, 1), io.BytesIO())
    array = NewRows(opener(npy_of(np.zeros((1, 2)))), lambda: np.array([0]))
    with pytest.raises(InvalidInputError, match="differ in shape or type"):
        merge_into("npy", Merge(opener(npy_of(np.zeros((1, 3)))), [array], True, 1), io.BytesIO())


def npy_of(array: np.ndarray) -> bytes:
    np.save(out := io.BytesIO(), array)
    return out.getvalue()


def test_merge_when_it_is_npz_then_members_are_as_a_batch_writes_them() -> None:
    merge, out = Merge(opener(file_of("npz", [1, 2])), [], True, 2), io.BytesIO()
    merge_into("npz", merge, out)
    assert {each.date_time for each in zipfile.ZipFile(out).infolist()} == {(1980, 1, 1, 0, 0, 0)}
