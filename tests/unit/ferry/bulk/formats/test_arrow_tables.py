"""Parquet and Arrow: columns of lists and scalars, chunks across row groups, faulty rows named, tables out."""

import io
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.arrow_columns import PIECE_ROWS
from ferry.bulk.formats.base import Limits
from ferry.bulk.formats.parquet_rows import ParquetRows
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

KINDS = ["parquet", "file", "stream"]
ONE = manifest(inputs=(spec("x", "float32", None),), outputs=(spec("y", "float32", None),))


def written(kind: str, table: pa.Table, rows: int = 3) -> tuple[str, bytes]:
    """Return the format's name and a file whose groups or batches have so many rows."""
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out, row_group_size=rows)
        return "parquet", out.getvalue()
    with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return "arrow", out.getvalue()


def nested(x: np.ndarray) -> pa.Table:
    return pa.table({"x": pa.array(x.tolist(), pa.list_(pa.list_(pa.float32())))})


def fixed(x: np.ndarray) -> pa.Table:
    return pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 6)})


def scalars(x: np.ndarray) -> pa.Table:
    return pa.table({f"c{i}": column for i, column in enumerate(x.reshape(len(x), -1).T)})


def tensors(x: np.ndarray) -> pa.Table:
    return pa.table({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(x)})


def table_of(name: str, data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data)) if name == "parquet" else pa.ipc.open_file(io.BytesIO(data)).read_all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [nested, fixed, scalars, tensors])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_tables_when_they_go_through_then_rows_in_order(kind: str, made, chunk_rows: int) -> None:
    x = rows_of(8)
    name, data = written(kind, made(x))
    out, errors = run(name, data, rules(chunk_rows=chunk_rows))
    table, y = table_of(name, out), fake_model(x)
    assert (errors, table.column_names) == ([], ["custom_id", "label", "score", "y"])
    np.testing.assert_allclose(table.column("y").to_pylist(), y, rtol=1e-6)
    assert table.column("label").to_pylist() == [LABELS[k] for k in y.argmax(axis=1)]
    assert table.column("custom_id").to_pylist() == [str(i + 1) for i in range(8)]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_shapes_differ_and_some_are_bad_then_groups_and_faults(kind: str) -> None:
    values = [[1.0], [2.0, 3.0], None, [4.0], [5.0, None], [6.0, 7.0], [float("inf")]]
    name, data = written(kind, pa.table({"x": values, "n": range(7)}))
    out, errors = run(name, data, rules(ONE, join=("n",)), model=lambda x: x * 2)
    table = table_of(name, out)
    assert table.column("y").to_pylist() == [[2.0], [4.0, 6.0], [8.0], [12.0, 14.0], [float("inf")]]
    assert table.column("n").to_pylist() == [0, 1, 3, 5, 6]
    assert [(e["row"], e["joined"]) for e in errors] == [(3, {"n": 2}), (5, {"n": 4})]


def test_tables_when_rows_have_the_wrong_shape_then_they_alone_fail() -> None:
    values = [[[0.0] * 3] * 2, [[0.0] * 3], [[0.0] * 3, [0.0]], [[1.0] * 3] * 2]
    name, data = written("parquet", pa.table({"x": values}))
    chunks = chunks_of(name, data, rules())
    assert [(f.position, f.param) for f in faults_of(chunks)] == [(1, "x"), (2, "x")]
    assert list(chunks[0].groups[0].positions) == [0, 3]


def test_tables_when_inputs_are_of_every_kind_then_read() -> None:
    model = manifest(inputs=(spec("s", "string"), spec("b", "bool"), spec("i", "int8"), spec("f", "float64")))
    table = pa.table({"s": ["a", "ö"], "b": [True, False], "i": [1, 300], "f": [1, 2]})
    (chunk,) = chunks_of(*written("parquet", table), rules(model))
    assert [array.tolist() for array in chunk.groups[0].arrays] == [["a"], [True], [1], [1.0]]
    assert "300 is outside of int8" in chunk.faults[0].message


@pytest.mark.parametrize("name", ["parquet", "arrow"])
@pytest.mark.parametrize("cut", [0, 3, 20, -1, -12])
def test_tables_when_the_file_is_cut_then_it_says_so(name: str, cut: int) -> None:
    _, data = written("parquet" if name == "parquet" else "file", fixed(rows_of(9)))
    (fault,) = index(name, data[:cut], rules()).faults
    assert (fault.code, "not a whole" in fault.message) == ("invalid_file", True)


def test_tables_when_a_stream_is_cut_then_it_says_so() -> None:
    _, data = written("stream", fixed(rows_of(9)))
    assert codes(index("arrow", data[:-100], rules())) == [("invalid_file", None)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        (fixed(rows_of(0)), "empty_file", "no rows"),
        (fixed(rows_of(11)), "too_many_lines", "limit is 10"),
        (pa.table({"z": [1.0]}), "wrong_columns", "needs a column 'x'"),
        (pa.table({"x": [["a"] * 6]}), "wrong_columns", "holds string"),
        (pa.table({"x": pa.array([1], pa.timestamp("s"))}), "wrong_columns", "timestamp"),
        (pa.table({"x": [{"a": 1}]}), "wrong_columns", "struct"),
    ],
)
def test_tables_when_the_file_is_bad_then_it_says_why(kind: str, table, code: str, said: str) -> None:
    (fault,) = index(*written(kind, table), rules(limits=Limits(max_rows=10))).faults
    assert (fault.code, said in fault.message) == (code, True)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_they_unpack_to_too_much_then_refused(kind: str) -> None:
    name, data = written(kind, fixed(rows_of(1000)), 500)
    assert codes(index(name, data, rules(limits=Limits(max_bytes=10_000)))) == [("too_large", None)]


@pytest.mark.parametrize("join", [("label", "y", "custom_id", "input_y"), ("input",)])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_a_joined_column_is_named_as_an_output_then_it_gets_input_before_its_name(
    kind: str, join: tuple[str, ...]
) -> None:
    table = fixed(rows_of(2))
    for name in ("label", "y", "custom_id", "input_y"):
        table = table.append_column(name, pa.array([f"{name} {row}" for row in range(2)]))
    out, _ = run(*written(kind, table), rules(join=join))
    found = table_of(*((written(kind, table)[0], out)))
    names = {"input_label": "label", "input_input_y": "y", "input_custom_id": "custom_id", "input_y": "input_y"}
    assert found.column_names == ["custom_id", *names, "label", "score", "y"]
    for name, source in names.items():
        assert found.column(name).to_pylist() == [f"{source} 0", f"{source} 1"]


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(KINDS), st.integers(1, 15), st.integers(1, 6), st.integers(1, 20), st.integers(1, 300))
def test_tables_when_cut_anyhow_then_the_same_rows(kind: str, n: int, group: int, chunk_rows: int, size: int) -> None:
    name, data = written(kind, fixed(rows_of(n)), group)
    chunks = chunks_of(name, data, rules(chunk_rows=chunk_rows, chunk_bytes=size))
    np.testing.assert_array_equal(whole(chunks), rows_of(n))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(1, 7), st.randoms())
def test_parquet_when_chunks_are_read_in_any_order_by_one_reader_then_the_same_rows(sizes, chunk_rows, random) -> None:
    x = rows_of(max(1, sum(sizes)))
    out, table, start = io.BytesIO(), fixed(x), 0
    with pq.ParquetWriter(out, table.schema) as writer:
        for size in (*sizes, len(x)):
            writer.write_table(table.slice(start, size))
            start += size
    reader, given_rules = format_named("parquet"), rules(chunk_rows=chunk_rows)
    chunks = list(index("parquet", out.getvalue(), given_rules).chunks)
    for order in (chunks, random.sample(chunks, len(chunks))):
        for chunk in order:
            (group,) = reader.read(io.BytesIO(out.getvalue()), chunk, given_rules).groups
            np.testing.assert_array_equal(group.arrays[0], x[chunk.first : chunk.first + chunk.rows])


def test_parquet_when_row_groups_are_small_then_chunks_end_where_they_end() -> None:
    _, data = written("parquet", fixed(rows_of(20)), 3)
    chunks = index("parquet", data, rules(chunk_rows=7)).chunks
    assert [(chunk.first, chunk.rows) for chunk in chunks] == [(0, 6), (6, 6), (12, 6), (18, 2)]
    assert [dict(chunk.where) for chunk in chunks[:2]] == [{"group": 0, "row": 0}, {"group": 2, "row": 0}]


def test_parquet_when_row_groups_are_large_then_they_are_cut_and_nothing_lies_in_two() -> None:
    _, data = written("parquet", fixed(rows_of(20)), 9)
    chunks = index("parquet", data, rules(chunk_rows=4)).chunks
    assert [chunk.rows for chunk in chunks] == [4, 4, 1, 4, 4, 1, 2]


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    n_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        Counted.n_bytes += len(data)
        return data


def test_parquet_when_chunks_of_one_row_group_come_in_order_then_it_is_read_once() -> None:
    _, data = written("parquet", scalars(rows_of(5000)), 5000)
    reader, given_rules = format_named("parquet"), rules(chunk_rows=100)
    chunks = index("parquet", data, given_rules).chunks
    Counted.n_bytes = 0
    for chunk in chunks:
        reader.read(Counted(data), chunk, given_rules)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    assert len(chunks) == 50
    assert Counted.n_bytes < 2 * len(data) + 52 * (footer + 8)


def test_parquet_when_a_chunk_has_few_rows_of_a_large_row_group_then_no_more_are_decoded() -> None:
    _, data = written("parquet", scalars(rows_of(5000)), 5000)
    given_rules = rules(chunk_rows=10)
    rows = ParquetRows(io.BytesIO(data))
    for chunk in index("parquet", data, given_rules).chunks[:3]:
        assert rows.take(chunk, rows.schema.names).num_rows == 10
        assert rows._rest is None


@pytest.mark.parametrize("chunk_rows", [4, 100])
def test_parquet_when_the_file_shrank_since_then_reading_says_so(chunk_rows: int) -> None:
    chunk = index(*written("parquet", fixed(rows_of(9)), 4), rules(chunk_rows=chunk_rows)).chunks[-1]
    _, data = written("parquet", fixed(rows_of(3)), 4)
    with pytest.raises(InvalidInputError, match="replaced"):
        format_named("parquet").read(io.BytesIO(data), chunk, rules(chunk_rows=chunk_rows))


def test_parquet_when_another_file_comes_then_its_rows_are_read() -> None:
    reader, given_rules = format_named("parquet"), rules(chunk_rows=4)
    for x in (rows_of(8), rows_of(8) + 1, rows_of(9)):
        _, data = written("parquet", fixed(x), 100)
        chunk = index("parquet", data, given_rules).chunks[1]
        (group,) = reader.read(io.BytesIO(data), chunk, given_rules).groups
        np.testing.assert_array_equal(group.arrays[0], x[4:8])


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_all_columns_are_joined_then_those_that_are_no_input_and_none_is_lost(kind: str) -> None:
    x = rows_of(5)
    table = fixed(x).append_column("n", pa.array(range(5))).append_column("y", pa.array(list("abcde")))
    name, data = written(kind, table)
    out, errors = run(name, data, rules(join=("input",)), fail=("2",))
    found = table_of(name, out)
    assert found.column_names == ["custom_id", "n", "input_y", "label", "score", "y"]
    assert (found.column("n").to_pylist(), found.column("input_y").to_pylist()) == ([0, 2, 3, 4], list("acde"))
    assert [error["joined"] for error in errors] == [{"n": 1, "y": "b"}]


def test_tables_when_all_columns_are_joined_and_all_are_inputs_then_none_is() -> None:
    name, data = written("parquet", scalars(rows_of(3)))
    out, _ = run(name, data, rules(join=("input",)))
    assert table_of(name, out).column_names == ["custom_id", "label", "score", "y"]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_a_chunk_is_read_in_pieces_then_each_is_a_group_and_rows_and_faults_keep_their_places(
    kind: str,
) -> None:
    n_rows, bad = 2 * PIECE_ROWS + 500, [0, PIECE_ROWS + 7]
    values = np.arange(n_rows) % 100
    values[bad] = 300
    name, data = written(kind, pa.table({"x": values}), PIECE_ROWS // 2)
    narrow = manifest(inputs=(spec("x", "int8"),), outputs=(spec("y", "float32"),))
    (chunk,) = chunks_of(name, data, rules(narrow, chunk_rows=n_rows))
    assert [len(group.positions) for group in chunk.groups] == [PIECE_ROWS - 1, PIECE_ROWS - 1, 500]
    assert [fault.position for fault in chunk.faults] == bad
    good = [position for group in chunk.groups for position in group.positions]
    assert good == [row for row in range(n_rows) if row not in bad]
    np.testing.assert_array_equal(whole([chunk]).ravel(), values[good])


def test_tables_when_a_later_piece_has_rows_of_another_shape_then_all_rows_are_read() -> None:
    values = [[1.0, 2.0]] * PIECE_ROWS + [[3.0]] + [[4.0, 5.0]]
    (chunk,) = chunks_of(*written("parquet", pa.table({"x": values}), PIECE_ROWS), rules(ONE, chunk_rows=len(values)))
    assert sorted(position for group in chunk.groups for position in group.positions) == list(range(len(values)))
    assert chunk.faults == ()


# --- types of input columns


TEXTS = manifest(inputs=(spec("s", "string", 2),), outputs=(spec("y", "float32"),))
FLOATS = manifest(inputs=(spec("x", "float32"),), outputs=(spec("y", "float32"),))


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_text_is_in_categories_then_it_is_read(kind: str) -> None:
    words = pa.array(["b", "a", "b", "ö"]).dictionary_encode()
    for table in (
        pa.table({"s_0": words, "s_1": words.cast(pa.string()).cast(pa.string_view())}),
        pa.table({"s": pa.ListArray.from_arrays([0, 2, 4, 6, 8], words.take(pa.array([0, 0, 1, 1, 2, 2, 3, 3])))}),
    ):
        (chunk,) = chunks_of(*written(kind, table, 4), rules(TEXTS))
        assert chunk.groups[0].arrays[0].tolist() == [["b"] * 2, ["a"] * 2, ["b"] * 2, ["ö"] * 2]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_dictionaries_differ_from_group_to_group_then_text_is_read(kind: str) -> None:
    table = pa.table({"s_0": pa.array(list("abcd")).dictionary_encode(), "s_1": list("abcd")})
    (chunk,) = chunks_of(*written(kind, table, 1), rules(TEXTS))
    assert chunk.groups[0].arrays[0].tolist() == [[each] * 2 for each in "abcd"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array(["1.50", "-0.10"]).cast(pa.decimal128(38, 17)), [1.5, -0.1]),
        (pa.array(["1.50", "-0.10"]).cast(pa.decimal256(60, 2)), [1.5, -0.1]),
        (pa.array([7, 9]).dictionary_encode(), [7.0, 9.0]),
    ],
)
def test_tables_when_booleans_or_decimals_come_for_floats_then_they_are_numbers(kind: str, values, expected) -> None:
    (chunk,) = chunks_of(*written(kind, pa.table({"x": values})), rules(FLOATS))
    np.testing.assert_array_equal(chunk.groups[0].arrays[0], np.float32(expected))
    lists = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, 1)})
    (chunk,) = chunks_of(*written(kind, lists), rules(FLOATS))
    np.testing.assert_array_equal(chunk.groups[0].arrays[0].ravel(), np.float32(expected))


def test_tables_when_decimals_come_for_floats_then_each_is_the_nearest() -> None:
    numbers = [Decimal(int(n)).scaleb(-17) for n in np.random.default_rng(3).integers(0, 10**17, 5000)]
    model = manifest(inputs=(spec("x", "float64"),), outputs=(spec("y", "float32"),))
    table = pa.table({"x": pa.array(numbers, pa.decimal128(38, 17))})
    (chunk,) = chunks_of(*written("parquet", table, 5000), rules(model, chunk_rows=5000))
    read = np.concatenate([group.arrays[0] for group in chunk.groups])
    assert read.tolist() == [float(number) for number in numbers]


def test_tables_when_booleans_are_outside_of_the_range_then_their_rows_fail() -> None:
    model = manifest(inputs=(spec("x", "float32", range=(0.5, 1.0)),), outputs=(spec("y", "float32"),))
    (chunk,) = chunks_of(*written("parquet", pa.table({"x": [True, False]})), rules(model))
    assert [(fault.position, "0 is below 0.5" in fault.message) for fault in chunk.faults] == [(1, True)]


@pytest.mark.parametrize("values", [pa.array([True]), pa.array(["1"]).cast(pa.decimal128(5, 0))])
def test_tables_when_booleans_or_decimals_come_for_whole_numbers_then_refused(values) -> None:
    model = manifest(inputs=(spec("x", "int64"),), outputs=(spec("y", "float32"),))
    (fault,) = index(*written("parquet", pa.table({"x": values})), rules(model)).faults
    assert (fault.code, f"holds {values.type}, input 'x' takes int64" in fault.message) == ("wrong_columns", True)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_a_text_is_not_utf8_then_its_row_fails_alone(kind: str) -> None:
    offsets, data = pa.array([0, 1, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff\xfe")
    model = manifest(inputs=(spec("s", "string"),), outputs=(spec("y", "float32"),))
    (chunk,) = chunks_of(*written(kind, pa.table({"s": pa.StringArray.from_buffers(2, offsets, data)})), rules(model))
    assert chunk.groups[0].arrays[0].tolist() == ["a"]
    assert [(fault.position, fault.message) for fault in chunk.faults] == [(1, "a text is not UTF-8")]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_when_no_row_of_the_first_chunk_succeeds_then_the_others_are_there(kind: str) -> None:
    _, data = written("parquet", pa.table({"x": [[None]] * 4 + [[1.0], [2.0, 3.0]]}), 4)
    out, errors = run("parquet", data, rules(ONE), kind, model=lambda x: x * 2)
    found = table_of(kind, out).column("y")
    assert (len(errors), found.to_pylist()) == (4, [[2.0], [4.0, 6.0]])


@pytest.mark.parametrize("largest", [2**63 - 1, 2**63])
def test_read_when_columns_of_signed_and_unsigned_integers_are_one_input_then_every_digit_is_kept(largest: int) -> None:
    given = manifest(inputs=(spec("x", "int64", 2),))
    table = pa.table(
        {"x_0": pa.array([2**53 + 1, -5, 3], pa.int64()), "x_1": pa.array([2**62 + 1, 7, largest], pa.uint64())}
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    chunks = chunks_of("parquet", out.getvalue(), rules(given))
    rows = [[2**53 + 1, 2**62 + 1], [-5, 7], [3, 2**63 - 1]]
    assert whole(chunks).tolist() == (rows if largest < 2**63 else rows[:2])
    assert len(faults_of(chunks)) == (0 if largest < 2**63 else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_when_they_have_the_index_of_a_data_frame_then_it_is_left_out_and_said(kind: str) -> None:
    model = manifest(inputs=(spec("x", "float32", 2),), outputs=(spec("y"),))
    table = pa.table({"a": [1.5, 2.5], "b": [3.0, 4.0], "__index_level_0__": [7, 8]})
    name, data = written(kind, table)
    assert whole(chunks_of(name, data, rules(model))).tolist() == [[1.5, 3], [2.5, 4]]
    notes = index(name, data, rules(model)).notes
    assert "column 3 ('__index_level_0__') is left out" in notes[0]
    assert "taken by their place" in notes[1]
    (chunk,) = chunks_of(name, data, rules(model, join=("__index_level_0__",)))
    assert [int(str(value)) for value in chunk.joined["__index_level_0__"]] == [7, 8]


def test_tables_when_an_arrow_file_has_integers_of_128_bits_then_it_says_what_to_write() -> None:
    _, data = written("stream", pa.table({"x": [[[0.0] * 3] * 2], "n": pa.array([1], pa.int64())}))
    (fault,) = index("arrow", with_128_bits(data), rules()).faults
    assert (fault.code, "not a whole" in fault.message) == ("invalid_file", False)
    assert "integers of more than 64 bits" in fault.message
    assert "write it as Int64, Decimal or String" in fault.message


def with_128_bits(stream: bytes) -> bytes:
    """Return a stream whose schema has 128 bits where it had the 64 bits of an integer."""
    at = -1
    while (at := stream.index(b"\x40\0\0\0", at + 1)) >= 0:
        wide = stream[:at] + b"\x80" + stream[at + 1 :]
        try:
            pa.ipc.open_stream(wide)
        except pa.ArrowNotImplementedError:
            return wide
        except pa.ArrowException:
            continue
    raise AssertionError


def test_tables_when_an_integer_is_outside_of_int64_then_all_digits_are_shown() -> None:
    model = manifest(inputs=(spec("x", "int64"),), outputs=(spec("y", "float32"),))
    (chunk,) = chunks_of(*written("parquet", pa.table({"x": pa.array([2**63], pa.uint64())})), rules(model))
    assert chunk.faults[0].message == (
        "9223372036854775808 is outside of int64, which holds -9223372036854775808 to 9223372036854775807"
    )


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_tables_when_two_columns_of_one_name_are_not_used_then_they_do_not_matter(name: str) -> None:
    three = manifest(inputs=(spec("x", "float32", 3),), outputs=(spec("y", "float32", 3),))
    values = [pa.array([1.0, 2.0])] * 3 + [pa.array(["a", "b"])] * 2
    table = pa.table(values, names=["x_0", "x_1", "x_2", "note", "note"])
    _, data = written(name, table)
    assert whole(chunks_of(name, data, rules(three))).tolist() == [[1, 1, 1], [2, 2, 2]]
    (fault,) = format_named(name).index(io.BytesIO(data), rules(three, join=("note",))).faults
    assert "two columns have the name 'note'" in fault.message
