"""Missing values: the same table gives the same rows, right and failed, in every format."""

import csv
import io
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from ferry.bulk.formats.base import Chunk
from ferry.bulk.formats.registry import format_named
from ferry.manifest import Preprocess
from ferry.missing import NA_WORDS
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, envelopes, faults_of, jsonl, npy, rules, whole

ROWS = [[1.0, 2.0, 3.0], [4.0, None, 6.0], [7.0, 8.0, 9.0], [None, None, None], [1.5, -2.5, None]]
REFUSED = {2: 2, 4: 1, 5: 3}  # row and column of its first missing value, from 1
WHY = (
    "input 'x' has a missing value (null, NaN or an empty cell) at column {}; "
    "the model takes none (`ferry models add --missing x=nan` changes that)"
)
FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow", "npy", "npz")


def text_of(rows: list, delimiter: str, word: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow([f"x_{at}" for at in range(len(rows[0]))])
    writer.writerows([[word if value is None else value for value in row] for row in rows])
    return out.getvalue().encode()


def saved(write) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def parquet_of(table: pa.Table) -> bytes:
    return saved(lambda out: pq.write_table(table, out))


def arrow_of(table: pa.Table) -> bytes:
    return saved(lambda out: feather.write_feather(table, out))


def table_file(name: str, rows: list, word: str = "") -> bytes:
    """Return the table of an input `x` of floats as a file of any format."""
    if name in ("csv", "tsv"):
        return text_of(rows, "," if name == "csv" else "\t", word)
    if name == "jsonl":
        return envelopes([{"input": {"x": row}} for row in rows])
    if name in ("parquet", "arrow"):
        table = pa.table({"x": pa.array(rows, pa.list_(pa.float32()))})
        return parquet_of(table) if name == "parquet" else arrow_of(table)
    array = np.array(rows, np.float32)  # None becomes NaN
    return npy(array) if name == "npy" else saved(lambda out: np.savez(out, x=array))


def model(missing: object = "error", **more: object):
    return manifest(inputs=(spec("x", "float32", 3, missing=missing, **more),))


def read(name: str, data: bytes, given) -> tuple[np.ndarray, dict[int, str]]:
    """Return the rows for the model, in order, and why each other row failed, by its number."""
    chunks = chunks_of(name, data, rules(given))
    found: dict[int, np.ndarray] = {}
    failed: dict[int, str] = {}
    first = 0
    for chunk in chunks:
        for group in chunk.groups:
            found.update({first + at: row for at, row in zip(group.positions, group.arrays[0], strict=True)})
        failed.update({first + fault.position + 1: fault.message for fault in chunk.faults})
        first += len(chunk.ids)
    return np.array([found[at] for at in sorted(found)]), failed


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("missing", ["error", "nan", -1.0])
@pytest.mark.parametrize("bounds", [None, (-100, 100)])
def test_read_when_values_are_missing_then_every_format_has_the_same_rows_and_reasons(
    name: str, missing: object, bounds: object
) -> None:
    got, failed = read(name, table_file(name, ROWS), model(missing, range=bounds))
    if missing == "error":
        assert failed == {row: WHY.format(column) for row, column in REFUSED.items()}
        np.testing.assert_array_equal(got, [ROWS[0], ROWS[2]])
    else:
        filled = math.nan if missing == "nan" else missing
        wanted = [[filled if value is None else value for value in row] for row in ROWS]
        np.testing.assert_array_equal(got, np.array(wanted, np.float32))
        assert failed == {}
        assert got.dtype == np.float32


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("missing", ["error", "nan", 0])
def test_read_when_another_value_of_the_row_is_outside_the_range_then_it_still_fails(
    name: str, missing: object
) -> None:
    rows = [[None, 2.0, 0.0], [0.0, 0.5, 1.0], [0.0, None, -3.0]]
    got, failed = read(name, table_file(name, rows), model(missing, range=(0, 1)))
    np.testing.assert_array_equal(got, [rows[1]])
    if missing == "error":
        assert failed == {1: WHY.format(1), 3: WHY.format(2)}
    else:
        assert "2 is above 1" in failed[1]
        assert "-3 is below 0" in failed[3]


@pytest.mark.parametrize("word", [*NA_WORDS, "  ", " NA ", "NAN", "+nan"])
@pytest.mark.parametrize("beside", [[], [["x", 0, 0]]])
def test_read_when_a_cell_is_empty_or_an_na_word_then_it_is_missing_whatever_the_other_rows(
    word: str, beside: list
) -> None:
    data = text_of([[1.0, None, 3.0], [0.5, 0.5, 0.5], *beside], ",", word)
    got, failed = read("csv", data, model())
    assert failed[1] == WHY.format(2)
    assert len(got) == 1
    got, failed = read("csv", data, model(7))
    assert got[0].tolist() == [1.0, 7.0, 3.0]
    assert len(failed) == len(beside)


def columns(**rule: object):
    """A model of one column for each kind, which gives them back."""
    return manifest(
        inputs=tuple(
            spec(name, dtype, 1, missing=rule.get(name, "error"))
            for name, dtype in (("a", "float64"), ("k", "int64"), ("flag", "bool"), ("s", "string"))
        )
    )


TABLE = {
    "a": [0.5, None, 2.5, 3.5],
    "k": [2**53 + 1, 2, None, 4],
    "flag": [True, None, False, True],
    "s": ["NA", "", "x", None],
}
FILLED = {"a": -1.5, "k": 2**62 + 1, "flag": True, "s": "none"}


def columns_file(name: str) -> bytes:
    lines = [dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values(), strict=True)]
    if name in ("csv", "tsv"):
        out = io.StringIO()
        writer = csv.writer(out, delimiter="," if name == "csv" else "\t")
        writer.writerow(TABLE)
        writer.writerows([["" if value is None else value for value in line.values()] for line in lines])
        return out.getvalue().encode()
    if name == "jsonl":
        return jsonl([{"input": {key: [value] for key, value in line.items()}} for line in lines])
    table = pa.table(TABLE)
    return parquet_of(table) if name == "parquet" else arrow_of(table)


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_read_when_columns_of_every_kind_have_missing_values_then_each_has_its_value(name: str) -> None:
    chunks = chunks_of(name, columns_file(name), rules(columns(**FILLED)))
    assert faults_of(chunks) == []
    for place, (key, values) in enumerate(TABLE.items()):
        wanted = [FILLED[key] if value is None else value for value in values]
        if key == "s" and name in ("csv", "tsv"):
            wanted[3] = ""  # an empty cell of text is a text
        assert whole(chunks, place).reshape(-1).tolist() == wanted


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_read_when_columns_of_every_kind_refuse_missing_values_then_the_input_is_named(name: str) -> None:
    chunks = chunks_of(name, columns_file(name), rules(columns()))
    faults = {fault.position + 1: fault.message for fault in faults_of(chunks)}
    if name in ("csv", "tsv"):
        assert faults.pop(4, None) is None
    else:
        assert faults.pop(4).startswith("input 's' has a missing value")
    assert set(faults) == {2, 3}
    assert faults[3] == (
        "input 'k' has a missing value (null, NaN or an empty cell); "
        "the model takes none (`ferry models add --missing k=VALUE` changes that)"
    )


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16(), pa.int8(), pa.uint64()])
def test_read_when_lists_of_any_number_type_have_nulls_then_the_value_of_the_input_is_kept(kind: pa.DataType) -> None:
    rows = [[1, None, 3], [4, 5, 6]]
    values = [[None if v is None else np.float16(v) for v in row] for row in rows] if kind == pa.float16() else rows
    data = parquet_of(pa.table({"x": pa.array(values, pa.list_(kind))}))
    got, failed = read("parquet", data, model(0.25))
    assert failed == {}
    assert got.tolist() == [[1, 0.25, 3], [4, 5, 6]]


def test_read_when_lists_differ_in_size_then_missing_values_have_the_same_rule() -> None:
    given = manifest(inputs=(spec("x", "float32", None, missing=9),))
    data = parquet_of(pa.table({"x": pa.array([[1, None], [None], [3, 4, 5], None], pa.list_(pa.int32()))}))
    chunks = chunks_of("parquet", data, rules(given))
    arrays = [row.tolist() for rows in chunks for group in rows.groups for row in group.arrays[0]]
    assert sorted(arrays, key=len) == [[9], [1, 9], [3, 4, 5]]
    assert [(f.position, f.message) for f in faults_of(chunks)] == [
        (3, "a null instead of a list; expected rows of shape (any)")
    ]


def test_read_when_a_list_of_texts_has_a_null_then_the_value_stands_there() -> None:
    given = manifest(inputs=(spec("s", "string", 2, missing="?"),))
    data = parquet_of(pa.table({"s": pa.array([["a", None], ["", "NA"]])}))
    assert whole(chunks_of("parquet", data, rules(given))).tolist() == [["a", "?"], ["", "NA"]]


@pytest.mark.parametrize("word", ["NaN", "null"])
@pytest.mark.parametrize("is_bare", [True, False])
def test_read_when_a_line_has_nan_or_null_then_that_line_alone_has_the_rule(word: str, is_bare: bool) -> None:
    lines = [f'{{"input": {{"x": [[1, 2, {last}], [0, 0, 0]]}}}}' for last in ("3", word, "5")]
    if not is_bare:
        lines = [
            f'{{"custom_id": "r{at}", "method": "POST", "url": "/v1/predictions", "body": {line}}}'
            for at, line in enumerate(lines)
        ]
    data = "\n".join(lines).encode()
    assert json.loads(lines[1])
    chunks = chunks_of("jsonl", data, rules(model()))
    assert [(f.position, f.message) for f in faults_of(chunks)] == [(1, "row 1: " + WHY.format(3))]
    rows = whole(chunks_of("jsonl", data, rules(model(0))))[:, 2].tolist()
    assert sorted(rows) == [0, 0, 0, 0, 3, 5]


def test_read_when_a_line_of_the_infer_protocol_has_null_then_the_rule_holds() -> None:
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, None, 3]}]}
    data = jsonl([body, {"inputs": [body["inputs"][0] | {"data": [1, 2, 3]}]}])
    chunks = chunks_of("jsonl", data, rules(model(), endpoint="infer"))
    assert [(f.position, f.message) for f in faults_of(chunks)] == [(0, WHY.format(2))]
    rows = whole(chunks_of("jsonl", data, rules(model(0), endpoint="infer"))).tolist()
    assert sorted(rows) == [[1, 0, 3], [1, 2, 3]]


def test_read_when_a_value_is_infinite_then_it_is_not_missing() -> None:
    data = npy(np.array([[1, math.inf, 3]], np.float32))
    got, failed = read("npy", data, model())
    assert failed == {}
    assert got.tolist() == [[1, math.inf, 3]]


def test_read_when_a_local_file_is_mapped_then_its_missing_values_are_filled(tmp_path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(table_file("npy", ROWS))
    with path.open("rb") as file:
        rows = format_named("npy").read(file, Chunk(0, 5), rules(model(2)))
    assert rows.groups[0].arrays[0][3].tolist() == [2, 2, 2]


def pixels_model(missing: object):
    how = Preprocess(mode="RGB", size=(2, 2), layout="CHW", scale=1 / 255, columns="pixel{}")
    return manifest(inputs=(spec("x", "float32", 3, 2, 2, preprocess=how, missing=missing),))


@pytest.mark.parametrize("name", ["csv", "parquet"])
@pytest.mark.parametrize(("missing", "value"), [("error", None), ("nan", math.nan), (-1.0, -1.0)])
def test_read_when_a_pixel_is_missing_then_the_rule_holds_in_the_place_that_the_row_has(
    name: str, missing: object, value: float | None
) -> None:
    rows = [[0] * 12, [255] * 12]
    rows[1][7] = None  # row 1, column 0, green
    names = [f"pixel{at}" for at in range(12)]
    if name == "csv":
        data = text_of(rows, ",", "").replace(b"x_", b"pixel")
    else:
        data = parquet_of(pa.table({key: [row[at] for row in rows] for at, key in enumerate(names)}))
    got, failed = read(name, data, pixels_model(missing))
    assert got[0].tolist() == np.zeros((3, 2, 2)).tolist()
    if value is None:
        assert list(failed) == [2]
        assert "at position (2, 2, 1); the model takes none" in failed[2]
    else:
        wanted = np.ones((3, 2, 2), np.float32)
        wanted[1, 1, 0] = value
        np.testing.assert_array_equal(got[1], wanted)
