"""CSV and TSV: headers mapped to inputs, records cut outside of quotes, faulty rows named."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.base import Limits
from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import (
    LABELS,
    chunks_of,
    codes,
    fake_model,
    faults_of,
    index,
    rows_of,
    rules,
    run,
    whole,
)

NAMES = [f"x_{i}" for i in range(6)]
ONE = manifest(inputs=(spec("x"),), outputs=(spec("y"),))


def table(rows, names=None, delimiter=",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([NAMES if names is None else names, *rows])
    return text.getvalue().encode()


def of(x: np.ndarray) -> list[list]:
    return x.reshape(len(x), -1).astype(float).tolist()


def parsed(data: bytes, delimiter=",") -> list[dict]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


@pytest.mark.parametrize("n_rows", [1, 4, 9])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_delimited_when_it_goes_through_then_rows_in_order_and_one_header(n_rows, chunk_rows, name, delimiter) -> None:
    x = rows_of(n_rows)
    out, errors = run(name, table(of(x), delimiter=delimiter), rules(chunk_rows=chunk_rows))
    rows = parsed(out, delimiter)
    y = fake_model(x)
    assert errors == []
    assert [row["custom_id"] for row in rows] == [str(i + 1) for i in range(n_rows)]
    np.testing.assert_allclose([[float(row[f"y_{k}"]) for k in range(3)] for row in rows], y, rtol=1e-6)
    assert [row["label"] for row in rows] == [LABELS[k] for k in y.argmax(axis=1)]
    np.testing.assert_allclose([float(row["score"]) for row in rows], y.max(axis=1), rtol=1e-6)


@pytest.mark.parametrize("names", [[f"x.{i}" for i in range(6)], [f"x[{i}]" for i in range(6)], list("abcdef")])
def test_delimited_when_columns_are_named_otherwise_then_they_are_found(names) -> None:
    np.testing.assert_allclose(whole(chunks_of("csv", table(of(rows_of(3)), names), rules())), rows_of(3), rtol=1e-6)


def test_delimited_when_columns_are_in_another_order_then_by_name() -> None:
    x = rows_of(3)
    data = table([row[::-1] for row in of(x)], NAMES[::-1])
    np.testing.assert_allclose(whole(chunks_of("csv", data, rules())), x, rtol=1e-6)


def test_delimited_when_inputs_are_of_every_kind_then_read() -> None:
    model = manifest(inputs=(spec("i", "int8"), spec("b", "bool"), spec("s", "string"), spec("h", "float16")))
    data = table([[1, "true", "a,\nb", 0.5], [-2, "false", "", 1]], ["i", "b", "s", "h"])
    (chunk,) = chunks_of("csv", data, rules(model))
    assert [array.tolist() for array in chunk.groups[0].arrays] == [[1, -2], [True, False], ["a,\nb", ""], [0.5, 1.0]]


def test_delimited_when_columns_are_joined_then_they_stand_beside() -> None:
    rows = [[i / 2, f'say "{i}",\nthen go'] for i in range(5)]
    out, _ = run("csv", table(rows, ["x", "note"]), rules(ONE, join=("note",), chunk_rows=2), model=lambda x: x * 2)
    assert [(row["note"], float(row["y"])) for row in parsed(out)] == [(note, x * 2) for x, note in rows]


@pytest.mark.parametrize("bad", [["abc"], [""], ["1", "2"], ["1e99"], ["1_0"]])
def test_delimited_when_a_row_is_bad_then_it_alone_fails(bad: list[str]) -> None:
    data = table([["1.5", "a"], [*bad, "b"], ["2.5", "c"]], ["x", "note"])
    out, errors = run("csv", data, rules(ONE, join=("note",)), model=lambda x: x)
    assert [float(row["y"]) for row in parsed(out)] == [1.5, 2.5]
    assert [(e["custom_id"], e["row"], e["response"]["status_code"]) for e in errors] == [("2", 2, 422)]


def test_delimited_when_a_value_is_out_of_range_then_its_row_fails_on_either_way() -> None:
    model = manifest(inputs=(spec("x", range=(0.0, 1.0)),), outputs=(spec("y"),))
    for rows in ([["0.5"], ["2"], ["nan"]], [["0.5"], ["2"], ["nan"], ["oh"]]):
        found = faults_of(chunks_of("csv", table(rows, ["x"]), rules(model)))
        assert [fault.position for fault in found] == list(range(1, len(rows)))


def test_delimited_when_bom_crlf_blank_lines_and_no_last_break_then_read() -> None:
    (chunk,) = chunks_of("csv", b"\xef\xbb\xbfx,y\r\n\r\n1,a\r\n\n2,b\r\n3,c", rules(ONE))
    assert chunk.groups[0].arrays[0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"x\n", "empty_file", "no rows"),
        (b"", "empty_file", "no rows"),
        (b"y,z\n1,2\n", "wrong_columns", "needs a column 'x'"),
        (b"x,x\n1,2\n", "wrong_columns", "two columns"),
        (b"caf\xe9,y\n1,2\n", "invalid_encoding", "0xE9 at offset 3 is"),
        (b'x\n1\n"2\n3\n', "invalid_quote", "not closed"),
        (b"x\n1\n" + b"2" * 200, "line_too_long", "longer"),
        (b"x\n" + b"1\n" * 11, "too_many_lines", "limit is 10"),
    ],
)
def test_delimited_when_the_file_is_bad_then_it_says_why(data: bytes, code: str, said: str) -> None:
    (fault,) = index("csv", data, rules(ONE, limits=Limits(max_row_bytes=100, max_rows=10))).faults
    assert (fault.code, said in fault.message) == (code, True)


def test_delimited_when_the_joined_column_is_missing_then_it_says_so() -> None:
    assert codes(index("csv", b"x\n1\n", rules(ONE, join=("id",)))) == [("wrong_columns", 1)]


def test_delimited_when_an_output_has_any_size_then_refused() -> None:
    with pytest.raises(InvalidInputError, match="any size"):
        format_named("csv").check_output(rules(manifest(outputs=(spec("y", "float32", None),))))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(-99, 99), st.text(st.sampled_from('a,"\n\r '), max_size=5)), min_size=1, max_size=12
    ),
    st.integers(1, 15),
    st.integers(1, 60),
)
def test_delimited_when_cut_anyhow_then_the_same_rows(rows, chunk_rows: int, chunk_bytes: int) -> None:
    data = table(rows, ["x", "note"])
    chunks = chunks_of("csv", data, rules(ONE, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes, join=("note",)))
    assert whole(chunks).tolist() == [x for x, _ in rows]
    assert [note for rows in chunks for note in rows.joined["note"].to_pylist()] == [note for _, note in rows]


@pytest.mark.parametrize("value", ["2.5", "oh"])
def test_delimited_when_all_columns_are_joined_then_those_that_are_no_input(value: str) -> None:
    data = table([["a", "1.5", "7"], ["b", value, "8"]], ["y", "x", "n"])
    out, errors = run("csv", data, rules(ONE, join=("input",)), model=lambda x: x)
    rows = parsed(out)
    assert rows[0] == {"custom_id": "1", "input_y": "a", "n": "7", "y": "1.5"}
    assert [error["joined"] for error in errors] == ([{"y": "b", "n": "8"}] if value == "oh" else [])
