"""Joined members of JSON lines: a column has the type of all its values, else it is JSON text as it is written."""

import io

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferry.bulk.formats.json_joined import JoinedKinds, raw_members
from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError
from tests.unit.ferry.bulk.formats.cases import index, rows_of, rules, run

X = orjson.dumps(rows_of(1)[0].tolist())
BIG = "123456789012345678901234567890"


def lines_of(values: list[str | None]) -> bytes:
    """Return a line for each value of the member `m`, given as JSON; None leaves the member out."""
    each = [b'{"input":{"x":%b}%b}' % (X, b"" if v is None else b',"m": %b' % v.encode()) for v in values]
    return b"\n".join(each) + b"\n"


CASES = [
    ("texts", ['"a"', None, '"\\u00e9\\n"', "null", '""'], pa.string(), ["a", None, "é\n", None, ""]),
    ("booleans", ["true", "null", "false"], pa.bool_(), [True, None, False]),
    ("whole numbers", ["1", f"{2**53 + 1}", f"{-(2**63)}"], pa.int64(), [1, 2**53 + 1, -(2**63)]),
    ("whole numbers of 64 bits", ["0", f"{2**64 - 1}"], pa.uint64(), [0, 2**64 - 1]),
    ("numbers", ["1.5", "2", "1e300"], pa.float64(), [1.5, 2.0, 1e300]),
    ("nothing", ["null", None], pa.null(), [None, None]),
    ("late values", ["null"] * 9 + ["7"], pa.int64(), [None] * 9 + [7]),
    ("two kinds of id", ["7", '"a7"', "null"], pa.json_(), ["7", '"a7"', None]),
    ("numbers that a double does not hold", ["1.5", f"{2**53 + 1}"], pa.json_(), ["1.5", f"{2**53 + 1}"]),
    ("more than 64 bits", ["1", BIG], pa.json_(), ["1", BIG]),
    ("more than 64 bits, and a fraction", ["1.5", BIG], pa.json_(), ["1.5", BIG]),
    ("signed and unsigned", ["-1", f"{2**64 - 1}"], pa.json_(), ["-1", f"{2**64 - 1}"]),
    (
        "lists and objects",
        ['[1, 2.50, {"k" : null}]', f'{{"n":{BIG}}}', '{"a":1,"a":2}'],
        pa.json_(),
        ['[1, 2.50, {"k" : null}]', f'{{"n":{BIG}}}', '{"a":1,"a":2}'],
    ),
]


@pytest.mark.parametrize(("name", "values", "kind", "expected"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("is_plain", [True, False])
def test_join_when_lines_have_a_member_then_a_table_has_its_type(
    name: str, values: list, kind: pa.DataType, expected: list, is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_plain:
        monkeypatch.setattr("ferry.bulk.formats.json_plain.simdjson", None)
    out, errors = run("jsonl", lines_of(values), rules(join=("m",), chunk_rows=2), "parquet")
    column = pq.read_table(io.BytesIO(out)).column("m")
    assert (errors, column.type, column.to_pylist()) == ([], kind, expected)


@pytest.mark.parametrize(("name", "values", "kind", "expected"), CASES, ids=[case[0] for case in CASES])
def test_join_when_lines_come_out_as_lines_then_each_value_is_the_same(
    name: str, values: list, kind: pa.DataType, expected: list
) -> None:
    out, _ = run("jsonl", lines_of(values), rules(join=("m",), chunk_rows=2), fail=("1",))
    lines = out.decode().splitlines()
    for line, value in zip(lines, values[1:], strict=True):
        written = raw_members(raw_members(line)["joined"])["m"]
        if kind == pa.json_():
            assert written == (value or "null")
        else:
            assert orjson.loads(written) == orjson.loads(value or "null")


def test_join_when_the_file_changed_since_then_reading_says_so() -> None:
    given = rules(join=("m",))
    (chunk,) = index("jsonl", lines_of(["171"]), given).chunks
    with pytest.raises(InvalidInputError, match="joined member 'm' is no longer what was indexed"):
        format_named("jsonl").read(io.BytesIO(lines_of(['"a"'])), chunk, given)


@pytest.mark.parametrize("is_bare", [True, False])
def test_join_when_a_line_holds_nan_then_its_own_values_stay_where_they_can(is_bare: bool) -> None:
    line = b'{"input":{"x":[NaN]},"m":%b}\n'
    if not is_bare:
        line = b'{"custom_id":"c%b","method":"POST","url":"/v1/predictions","body":{"input":{"x":[NaN]}},"m":%b}\n'
    values = [b'"a"', b"7", b"NaN", b"[1]"]
    data = b"".join(line % ((value,) if is_bare else (b"%d" % n, value)) for n, value in enumerate(values))
    out, errors = run("jsonl", data, rules(join=("m",)))
    assert out == b""
    assert [error["joined"]["m"] for error in errors] == ["a", 7, None, [1]]


def test_raw_members_when_there_are_spaces_and_escapes_then_values_as_written() -> None:
    assert raw_members(' { "a" : {"x": [1, 2.50]} , "b\\u00e9":1e400,"c":"q\\"" ,"d":null}\r') == {
        "a": '{"x": [1, 2.50]}', "bé": "1e400", "c": '"q\\""', "d": "null",
    }  # fmt: skip
    assert raw_members("{}") == raw_members(" { } ") == {}


def test_kinds_when_no_line_has_the_member_then_its_type_is_null() -> None:
    assert JoinedKinds(["a"]).types() == {"a": "null"}
