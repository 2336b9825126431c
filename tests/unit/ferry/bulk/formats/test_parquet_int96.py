"""INT96 timestamps of Parquet, joined: every year and every digit comes back, or the file is refused."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.ferry.bulk.formats.cases import index, rows_of, rules, run

FAR_US = [253_402_214_400_000_000, -14_831_769_600_000_000, 1, None, -1]  # 9999-12-31, 1500-01-01
FINE_NS = [1_700_000_000_123_456_789, -1, None, 0, 1]
NAMES = ("ts", "a.b")


def int96(**columns: pa.Array) -> bytes:
    out = io.BytesIO()
    x = pa.array(rows_of(len(FAR_US)).tolist())
    pq.write_table(pa.table({"x": x, **columns}), out, use_deprecated_int96_timestamps=True, row_group_size=2)
    return out.getvalue()


def joined_of(data: bytes, *names: str, output: str = "parquet") -> pa.Table:
    out, errors = run("parquet", data, rules(join=names), output)
    assert errors == []
    source = io.BytesIO(out)
    return pq.read_table(source) if output == "parquet" else pa.ipc.open_file(source).read_all()


@pytest.mark.parametrize("output", ["parquet", "arrow"])
@pytest.mark.parametrize("name", NAMES)
def test_int96_when_years_are_beyond_nanoseconds_then_microseconds(name: str, output: str) -> None:
    far = pa.array(FAR_US, pa.timestamp("us"))
    out = joined_of(int96(**{name: far}), name, output=output).column(name)
    assert out.type == pa.timestamp("us")
    assert out.cast(pa.int64()).to_pylist() == FAR_US


@pytest.mark.parametrize("output", ["parquet", "arrow"])
def test_int96_when_years_fit_nanoseconds_then_no_digit_is_lost(output: str) -> None:
    out = joined_of(int96(ts=pa.array(FINE_NS, pa.timestamp("ns"))), "ts", output=output).column("ts")
    assert out.type == pa.timestamp("ns")
    assert out.cast(pa.int64()).to_pylist() == FINE_NS


@pytest.mark.parametrize("us", [2**63 // 1000 + 1, -(2**63 // 1000) - 2])
def test_int96_when_a_value_is_just_beyond_nanoseconds_then_exact(us: int) -> None:
    out = joined_of(int96(ts=pa.array([us, 0, 1, 2, 3], pa.timestamp("us"))), "ts").column("ts")
    assert out.cast(pa.int64()).to_pylist() == [us, 0, 1, 2, 3]


def test_int96_when_the_far_years_are_inside_lists_and_structs_then_exact() -> None:
    moments = pa.array(FAR_US, pa.timestamp("us"))
    lists = pa.ListArray.from_arrays(list(range(6)), moments)
    structs = pa.StructArray.from_arrays([moments], ["at"])
    out = joined_of(int96(lists=lists, structs=structs), "lists", "structs")
    assert [row and row[0] for row in out.column("lists").to_pylist()] == moments.to_pylist()
    assert [row["at"] for row in out.column("structs").to_pylist()] == moments.to_pylist()


def test_int96_when_one_column_is_far_and_another_fine_then_refused_with_both_names() -> None:
    data = int96(ts=pa.array(FAR_US, pa.timestamp("us")), fine=pa.array(FINE_NS, pa.timestamp("ns")))
    (fault,) = index("parquet", data, rules(join=("ts", "fine"))).faults
    assert fault.code == "wrong_columns"
    assert "'ts' holds INT96" in fault.message
    assert "column 'fine' some with digits below" in fault.message
    assert joined_of(data, "ts").column("ts").cast(pa.int64()).to_pylist() == FAR_US
