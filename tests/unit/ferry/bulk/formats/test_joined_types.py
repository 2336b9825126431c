"""Joined columns of every Arrow type: from each table format to each output they come back exactly, or are refused."""

import csv
import io
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferry.bulk.formats.registry import OUTPUT_FORMATS
from ferry.errors import InvalidInputError
from tests.unit.ferry.bulk.formats.cases import rows_of, rules, run

N_ROWS, N_NULLS = 23, 9  # chunks have 4 rows, so that the first two know nothing of the column but its type
FAILED = ("2", "14", "15")
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
NAN = float("nan")


@dataclass(frozen=True)
class Case:
    """A type's values, and what each format makes of them; None: it refuses the column."""

    values: pa.Array
    in_json: list[Any] | None
    in_csv: list[str] | None
    in_arrow: bool = True
    in_parquet: bool = True
    parquet_type: pa.DataType | None = None


def of(kind: pa.DataType, *values: object) -> pa.Array:
    return pa.array(values, kind)


def same(values: pa.Array, *texts: Any, **more: Any) -> Case:
    """Return a case whose values are the same in JSON and CSV."""
    return Case(values, list(texts), [str(text) for text in texts], **more)


def moment(values: pa.Array, *texts: str, **more: Any) -> Case:
    return Case(values, [text.replace(" ", "T") for text in texts], list(texts), **more)


def storage(kind: pa.DataType, values: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, values)


WORDS = of(pa.string(), "b", "a", "b").dictionary_encode()
ORDERED = pa.DictionaryArray.from_arrays(of(pa.int8(), 2, 0), of(pa.string(), "low", "mid", "high"), ordered=True)
CASES = {
    "int8": same(of(pa.int8(), -128, 127), -128, 127),
    "int64": same(of(pa.int64(), -(2**63), 2**53 + 1), -(2**63), 2**53 + 1),
    "uint64": same(of(pa.uint64(), 2**64 - 1, 0), 2**64 - 1, 0),
    "float16": same(pa.array(np.float16([1.5, -0.1])), 1.5, -0.0999755859375),
    "float32": same(of(pa.float32(), 0.1, 1e-30), 0.1, 1e-30),
    "float64": same(of(pa.float64(), 0.1, 5e-324), 0.1, 5e-324),
    "not finite": Case(
        of(pa.float64(), NAN, float("inf"), float("-inf")), ["NaN", "Infinity", "-Infinity"], ["nan", "inf", "-inf"]
    ),
    "bool": Case(of(pa.bool_(), True, False), [True, False], ["true", "false"]),
    "text": same(of(pa.string(), "", 'a,"b"\n', "größer"), "", 'a,"b"\n', "größer"),
    "large text": same(of(pa.large_string(), "x"), "x"),
    "text view": same(of(pa.string_view(), "x", "longer than twelve bytes"), "x", "longer than twelve bytes"),
    "decimal32": same(of(pa.decimal32(7, 2), Decimal("1.50")), "1.50"),
    "decimal64": same(of(pa.decimal64(12, 2), Decimal("-1.50")), "-1.50"),
    "decimal128": same(
        of(pa.decimal128(38, 9), Decimal("12345678901234567890.123456789")), "12345678901234567890.123456789"
    ),
    "decimal256": same(of(pa.decimal256(60, 3), Decimal("1.5")), "1.500"),
    "decimal of thousands": same(of(pa.decimal128(5, -3), Decimal(12000)), "12000", in_parquet=False),
    "decimal of small units": same(of(pa.decimal128(18, 8), Decimal("1e-8"), Decimal(0)), "0.00000001", "0.00000000"),
    "lists of decimals": Case(of(pa.list_(pa.decimal128(9, 8)), [Decimal("1e-8")]), [["0.00000001"]], None),
    "lists of bool8": Case(
        pa.ListArray.from_arrays([0, 2], storage(pa.bool8(), of(pa.int8(), 2, 0))), [[True, False]], None
    ),
    "opaque": Case(storage(pa.opaque(pa.int32(), "a", "b"), of(pa.int32(), 1)), None, None),
    "permuted tensor": Case(
        storage(pa.fixed_shape_tensor(pa.int8(), (2, 1), permutation=[1, 0]), of(pa.list_(pa.int8(), 2), [1, 2])),
        None,
        None,
    ),
    "date32": same(of(pa.date32(), 0, 3_000_000, -1), "1970-01-01", "10183-09-21", "1969-12-31"),
    "date32 of all": same(of(pa.date32(), 2**31 - 1, -1_000_000), "5881580-07-11", "-768-02-04"),
    "date64": same(of(pa.date64(), 86_400_000), "1970-01-02", parquet_type=pa.date32()),
    "timestamp s": moment(
        of(pa.timestamp("s"), 0, 10**12), "1970-01-01 00:00:00", "33658-09-27 01:46:40", parquet_type=pa.timestamp("ms")
    ),
    "timestamp us": moment(of(pa.timestamp("us"), -1), "1969-12-31 23:59:59.999999"),
    "timestamp ns": moment(of(pa.timestamp("ns"), 1_700_000_000_123_456_789), "2023-11-14 22:13:20.123456789"),
    "timestamp UTC": moment(of(pa.timestamp("ns", "UTC"), 1_700_000_000_123_456_789), "2023-11-14 22:13:20.123456789Z"),
    "timestamp zone": moment(
        of(pa.timestamp("ms", "Europe/Berlin"), 1_700_000_000_123, 1_690_000_000_000),
        "2023-11-14 23:13:20.123+01:00",
        "2023-07-22 06:26:40.000+02:00",
    ),
    "timestamp zone of minutes": moment(
        of(pa.timestamp("s", "-09:30"), 0), "1969-12-31 14:30:00-09:30", parquet_type=pa.timestamp("ms", "-09:30")
    ),
    "timestamp zone far": moment(of(pa.timestamp("ms", "+05:30"), 10**15), "33658-09-27 01:46:40.000Z"),
    "timestamp nowhere": moment(of(pa.timestamp("ms", "Mars/Base"), 1), "1970-01-01 00:00:00.001Z"),
    "time s": same(of(pa.time32("s"), 3661), "01:01:01", parquet_type=pa.time32("ms")),
    "time ns": same(of(pa.time64("ns"), 86_399_999_999_999), "23:59:59.999999999"),
    "duration": Case(of(pa.duration("ns"), 1), None, None),
    "interval": Case(of(pa.month_day_nano_interval(), (1, 2, 3)), None, None, in_parquet=False),
    "bytes": Case(of(pa.binary(), b"\xff\x00"), None, None),
    "bytes view": Case(of(pa.binary_view(), b"\xff\x00"), None, None),
    "fixed bytes": Case(of(pa.binary(2), b"\xff\x00"), None, None),
    "list": Case(of(pa.list_(pa.int64()), [1, None], []), [[1, None], []], None),
    "list of moments": Case(of(pa.list_(pa.timestamp("us")), [-1, None]), [["1969-12-31T23:59:59.999999", None]], None),
    "large list": Case(of(pa.large_list(pa.decimal128(5, 2)), [Decimal("1.5")]), [["1.50"]], None),
    "fixed list": Case(of(pa.list_(pa.int8(), 2), [1, 2]), [[1, 2]], None),
    "list view": Case(of(pa.list_view(pa.int8()), [1, 2], [3]), [[1, 2], [3]], None),
    "list view out of order": Case(
        pa.ListViewArray.from_arrays([2, 0, 1], [1, 2, 2], of(pa.int8(), 1, 2, 3)), [[3], [1, 2], [2, 3]], None
    ),
    "struct": Case(
        of(pa.struct({"a": pa.uint64(), "b": pa.list_(pa.string())}), {"a": 2**64 - 1, "b": ["x"]}, {"a": None}),
        [{"a": 2**64 - 1, "b": ["x"]}, {"a": None, "b": None}],
        None,
    ),
    "struct of doubles": Case(of(pa.struct([("a", pa.int8()), ("a", pa.int8())])), None, None),
    "map": Case(of(pa.map_(pa.string(), pa.int8()), [("k", 1)]), None, None),
    "categories": same(WORDS, "b", "a", "b"),
    "categories in order": same(ORDERED, "high", "low"),
    "categories of numbers": same(
        pa.DictionaryArray.from_arrays(of(pa.int8(), 1, 0), of(pa.int64(), 7, 9)), 9, 7, parquet_type=pa.int64()
    ),
    "categories of large text": same(
        pa.DictionaryArray.from_arrays(of(pa.uint32(), 1, 0), of(pa.large_string(), "a", "b")), "b", "a",
        parquet_type=pa.dictionary(pa.uint32(), pa.string()),
    ),
    "categories of views": same(
        pa.DictionaryArray.from_arrays(
            of(pa.uint8(), 1, 0), of(pa.string_view(), "a", "longer than twelve bytes"), ordered=True
        ),
        "longer than twelve bytes", "a",
        parquet_type=pa.dictionary(pa.uint8(), pa.string(), ordered=True),
    ),
    "list of categories": Case(
        pa.ListArray.from_arrays([0, 2, 3], WORDS), [["b", "a"], ["b"]], None, in_arrow=False
    ),
    "runs": Case(pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), None, None, in_parquet=False),
    "uuid": same(storage(pa.uuid(), of(pa.binary(16), ID.bytes)), str(ID)),
    "json": Case(storage(pa.json_(), of(pa.string(), '{"a": 1.0}')), [{"a": 1.0}], ['{"a": 1.0}']),
    "bool8": Case(storage(pa.bool8(), of(pa.int8(), 1, 0)), [True, False], ["true", "false"]),
    "tensor": Case(storage(pa.fixed_shape_tensor(pa.int8(), (2,)), of(pa.list_(pa.int8(), 2), [1, 2])), None, None),
    "union": Case(
        pa.UnionArray.from_sparse(of(pa.int8(), 0, 1), [of(pa.int8(), 1, 2), of(pa.string(), "a", "b")]), None, None,
        in_parquet=False,
    ),
    "nothing": Case(of(pa.null(), None), [None], [""]),
}  # fmt: skip
INPUTS = ("parquet", "file", "stream")
GIVEN = rules(join=("c",))


def column_of(values: pa.Array) -> pa.Array:
    """Return the values behind nulls, repeated to N_ROWS; unions have no null, and some values none to repeat."""
    times = (N_ROWS // max(1, len(values))) + 1
    if pa.types.is_union(values.type):
        return pa.concat_arrays([values] * times).slice(0, N_ROWS)
    if isinstance(values, pa.DictionaryArray):
        nulls = pa.DictionaryArray.from_arrays(
            pa.array([None] * N_NULLS, values.type.index_type), values.dictionary, ordered=values.type.ordered
        )
    else:
        nulls = pa.nulls(N_NULLS if len(values) else N_ROWS, values.type)
    return pa.concat_arrays([nulls, *[values] * times]).slice(0, N_ROWS)


def written(kind: str, column: pa.Array) -> tuple[str, bytes]:
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(rows_of(N_ROWS).ravel()), 6), "c": column})
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out, row_group_size=10)
        return "parquet", out.getvalue()
    with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    return "arrow", out.getvalue()


def table_of(name: str, data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data)) if name == "parquet" else pa.ipc.open_file(io.BytesIO(data)).read_all()


def refused(case: Case, output: str) -> bool:
    return {
        "jsonl": case.in_json is None, "csv": case.in_csv is None, "tsv": case.in_csv is None,
        "parquet": not case.in_parquet, "arrow": not case.in_arrow,
    }[output]  # fmt: skip


def of_rows(case: Case, texts: list[Any], nothing: object) -> list[Any]:
    """Return what stands in each row of a column, given what its values are."""
    n_nulls = 0 if pa.types.is_union(case.values.type) else N_NULLS if texts else N_ROWS
    return [nothing if row < n_nulls else texts[(row - n_nulls) % len(texts)] for row in range(N_ROWS)]


@pytest.mark.parametrize("output", ["jsonl", "csv", "tsv", "parquet", "arrow"])
@pytest.mark.parametrize(
    ("name", "kind"),
    # A type that Parquet lacks is another one in the file already.
    [
        (n, kind)
        for n, c in CASES.items()
        for kind in INPUTS
        if kind != "parquet" or (c.in_parquet and not c.parquet_type)
    ],
)
def test_join_when_a_column_is_of_any_type_then_it_comes_back_exactly_or_is_refused(
    name: str, kind: str, output: str
) -> None:
    case = CASES[name]
    source = column_of(case.values)
    input_name, data = written(kind, source)
    if kind == "parquet":  # it names what lists hold in its own way
        source = pq.read_table(io.BytesIO(data)).column("c").combine_chunks()
    if refused(case, output):
        with pytest.raises(InvalidInputError) as caught:
            run(input_name, data, GIVEN, output, fail=FAILED)
        assert f"column 'c' holds {str(source.type)[:80]}, which {output} cannot hold; " in caught.value.detail
        return
    out, errors = run(input_name, data, GIVEN, output, fail=FAILED)
    keep = [row for row in range(N_ROWS) if str(row + 1) not in FAILED]
    if case.in_json is not None:
        expected = of_rows(case, case.in_json, None)
        assert [error["joined"]["c"] for error in errors] == [expected[int(number) - 1] for number in FAILED]
    if output == "jsonl":
        lines = [orjson.loads(line) for line in out.splitlines()]
        assert [line["joined"]["c"] for line in lines] == [of_rows(case, case.in_json, None)[row] for row in keep]
    elif output in ("csv", "tsv"):
        rows = csv.DictReader(io.StringIO(out.decode(), newline=""), delimiter="," if output == "csv" else "\t")
        assert [row["c"] for row in rows] == [of_rows(case, case.in_csv, "")[row] for row in keep]
    else:
        found = table_of(output, out).column("c")
        wanted = pa.concat_arrays([source.slice(row, 1) for row in keep])
        if output == "parquet" and case.parquet_type:
            wanted = wanted.cast(case.parquet_type)
        assert found.type == wanted.type
        assert same_values(found, wanted)


def same_values(found: pa.ChunkedArray, wanted: pa.Array) -> bool:
    if pa.types.is_floating(wanted.type):  # NaN equals NaN
        return found.combine_chunks().fill_null(-7).to_numpy().tobytes() == wanted.fill_null(-7).to_numpy().tobytes()
    if pa.types.is_dictionary(wanted.type):
        return bool(found.to_pylist() == wanted.to_pylist())
    return found.equals(pa.chunked_array([wanted]))


@pytest.mark.parametrize("output", ["parquet", "arrow"])
@pytest.mark.parametrize("kind", INPUTS)
def test_join_when_categories_have_an_order_then_they_keep_it(kind: str, output: str) -> None:
    out, _ = run(*written(kind, column_of(ORDERED)), GIVEN, output, fail=FAILED)
    column = table_of(output, out).column("c")
    assert column.type.ordered
    chunks = [chunk for chunk in column.chunks if chunk.null_count < len(chunk)]
    assert {tuple(chunk.dictionary.to_pylist()) for chunk in chunks} == {("low", "mid", "high")}


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view()])
def test_join_when_dictionaries_differ_from_batch_to_batch_then_an_arrow_file_has_one(text: pa.DataType) -> None:
    out = io.BytesIO()
    batches = [pa.array(words, text).dictionary_encode() for words in (["a", "b"], ["c", None], ["b", "d"])]
    x = pa.FixedSizeListArray.from_arrays(pa.array(rows_of(2).ravel()), 6)
    tables = [pa.table({"x": x, "c": words}) for words in batches]
    with pa.ipc.new_stream(out, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    made, _ = run("arrow", out.getvalue(), rules(join=("c",), chunk_rows=2))
    found = table_of("arrow", made).column("c")
    assert (found.type, found.to_pylist()) == (batches[0].type, ["a", "b", "c", None, "b", "d"])


def test_join_when_there_are_more_categories_than_the_index_can_count_then_says_so() -> None:
    out = io.BytesIO()
    x = pa.FixedSizeListArray.from_arrays(pa.array(rows_of(100).ravel()), 6)
    tables = [
        pa.table({"x": x, "c": pa.DictionaryArray.from_arrays(np.arange(100, dtype=np.int8), list(map(str, words)))})
        for words in (range(100), range(100, 200))
    ]
    with pa.ipc.new_stream(out, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    with pytest.raises(InvalidInputError, match="has 200 categories in all"):
        run("arrow", out.getvalue(), rules(join=("c",), chunk_rows=100))


@pytest.mark.parametrize("output", [name for name in OUTPUT_FORMATS if name in ("npy", "npz")])
def test_join_when_the_output_is_arrays_then_refused(output: str) -> None:
    with pytest.raises(InvalidInputError, match="no columns to join, such as 'c'"):
        run(*written("parquet", column_of(WORDS)), GIVEN, output)


@pytest.mark.parametrize("output", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize(("lost", "n_values"), [(0, 13), (1, 4)])  # chunks are the row groups: 10, 10 and 3 rows
def test_join_when_a_chunk_was_lost_unread_then_the_columns_of_the_others_stay(
    output: str, lost: int, n_values: int
) -> None:
    name, data = written("parquet", column_of(of(pa.uint64(), 2**64 - 1)))
    out, errors = run(name, data, rules(join=("c",), chunk_rows=12), output, lost=(lost,))
    assert len(errors) == 10
    if output == "csv":
        found = [row["c"] for row in csv.DictReader(io.StringIO(out.decode()))]
        assert (len(found), found.count(str(2**64 - 1))) == (13, n_values)
    else:
        column = table_of(output, out).column("c")
        assert (column.type, len(column), column.to_pylist().count(2**64 - 1)) == (pa.uint64(), 13, n_values)


@pytest.mark.parametrize("kind", INPUTS)
def test_join_when_text_is_not_utf8_then_the_column_is_named(kind: str) -> None:
    broken = pa.StringArray.from_buffers(
        N_ROWS, pa.array(range(N_ROWS + 1), pa.int32()).buffers()[1], pa.py_buffer(b"\xff" * N_ROWS)
    )
    with pytest.raises(InvalidInputError, match="column 'c' holds text that is not UTF-8"):
        run(*written(kind, broken), GIVEN, "jsonl")


@pytest.mark.parametrize("output", ["csv", "parquet", "jsonl"])
def test_join_when_csv_has_a_column_label_then_it_is_text_and_named_input_label(output: str) -> None:
    data = b"label," + b",".join(b"x_%d" % n for n in range(6)) + b"\n007,1,2,3,4,5,6\n,1,2,3,4,5,6\n"
    out, _ = run("csv", data, rules(join=("label",)), output)
    if output == "csv":
        rows = list(csv.DictReader(io.StringIO(out.decode())))
        assert [(row["input_label"], row["label"]) for row in rows] == [("007", "yes"), ("", "yes")]
    elif output == "parquet":
        assert table_of(output, out).column("input_label").to_pylist() == ["007", ""]
    else:
        assert [orjson.loads(line)["joined"] for line in out.splitlines()] == [{"label": "007"}, {"label": ""}]


@pytest.mark.parametrize(("text", "expected"), [('{"a":\n 1}', {"a": 1}), ("no JSON", "no JSON"), ('"a\\nb"', "a\nb")])
def test_join_when_json_text_has_line_breaks_or_is_none_then_a_line_of_jsonl_stays_one(text: str, expected) -> None:
    column = storage(pa.json_(), of(pa.string(), *[text] * N_ROWS))
    out, _ = run(*written("parquet", column), GIVEN, "jsonl")
    assert [orjson.loads(line)["joined"]["c"] for line in out.splitlines()] == [expected] * N_ROWS
