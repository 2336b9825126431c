import tracemalloc
from pathlib import Path

import orjson
import pytest

from ferry.cli import batch_reasons
from ferry.cli.batch_reasons import RowFailure, failure_of, failures_of, reasons_of, reasons_of_file
from ferry.client_bulk_answers import BatchFault


def error_line(
    number: int, code: str, message: str, *, param: str | None = None, unit: str = "row", **more: object
) -> bytes:
    """Return a line of an error file, of a row that ran or was refused."""
    body = {"error": {"code": code, "message": message, "param": param, "type": "invalid_request_error"}}
    line = {"custom_id": str(number), unit: number, "response": {"status_code": 422, "body": body}, "error": None}
    return orjson.dumps(line | more) + b"\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("column 'age': expected float32, got 'abc'", "column 'age': expected float32, got \"it's\""),
        ("3 fields, the header has 4", "12 fields, the header has 4"),
        ("a row of shape (3,), expected (4,)", "a row of shape (2, 2), expected (4,)"),
        ("-1.5e+30 lies outside 0 to 1", "7 lies outside 0 to 1"),
        ("byte 0xff at 17", "byte 0xE9 at 3"),
        ("img_001.png: cannot identify", "img_77.png: cannot identify"),
        ("value nan", "value 1"),
    ],
)
def test_kind_when_messages_differ_in_numbers_and_quoted_values_then_the_same(one: str, other: str) -> None:
    assert RowFailure("c", one).kind == RowFailure("c", other).kind


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RowFailure("a", "no"), RowFailure("b", "no")),
        (RowFailure("a", "no", "x"), RowFailure("a", "no", "y")),
        (RowFailure("a", "a null"), RowFailure("a", "an empty value")),
    ],
)
def test_kind_when_code_field_or_words_differ_then_another(one: RowFailure, other: RowFailure) -> None:
    assert one.kind != other.kind


def test_kind_when_a_pointer_names_a_position_then_the_same() -> None:
    assert RowFailure("a", "no", "#/input/x/0/3").kind == RowFailure("a", "no", "#/input/x/7/1").kind


def test_reasons_when_a_file_has_several_then_the_most_frequent_first_with_an_example(tmp_path: Path) -> None:
    lines = [error_line(5, "model_error", "the worker died", unit="line", custom_id="r5")]
    lines += [error_line(n, "invalid_input", f"expected float32, got 'x{n}'", param="age") for n in range(7, 1207)]
    never = {"custom_id": "9", "row": 9, "response": None, "error": {"code": "batch_cancelled", "message": "cancelled"}}
    lines += [orjson.dumps(never) + b"\n"] * 2
    path = tmp_path / "e.jsonl"
    path.write_bytes(b"".join(lines))
    assert reasons_of_file(path).lines() == [
        "1,200 rows: invalid_input age: expected float32, got 'x7' (such as row 7)",
        "2 rows: batch_cancelled: cancelled (such as row 9)",
        "1 row: model_error: the worker died (such as line 5, id r5)",
    ]


def test_reasons_when_there_are_many_kinds_then_bounded_and_the_rest_is_counted() -> None:
    failures = [RowFailure("code" + "x" * n, "no") for n in range(13) for _ in range(20 - n)]
    lines = reasons_of(failures)
    assert len(lines) == 11
    assert lines[0] == "20 rows: code: no"
    assert lines[-1] == "... and 3 more kinds (27 rows)"
    assert reasons_of(failures[: sum(range(10, 21))])[-1] == "... and 1 more kind (10 rows)"


def test_reasons_when_there_are_more_kinds_than_are_told_apart_then_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reasons, "MAX_KINDS", 12)
    assert reasons_of(RowFailure("x" * n, "no") for n in range(20))[-1] == "... and over 2 more kinds (10 rows)"


def test_reasons_when_the_file_is_large_then_it_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    with path.open("wb") as file:
        for number in range(20_000):
            file.write(error_line(number, "invalid_input", f"{number} is too large", joined={"text": "x" * 500}))
    tracemalloc.start()
    lines = reasons_of_file(path).lines()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines == ["20,000 rows: invalid_input: 0 is too large (such as row 0)"]
    assert peak_bytes < 2**20 < path.stat().st_size


def test_reasons_when_a_message_would_drive_the_terminal_then_it_cannot() -> None:
    (line,) = reasons_of([RowFailure("c", "a\x1b[31m\nb" + "y" * 300, "p" * 60, "row 1", "id\n")])
    assert line.isprintable()
    assert len(line) < 320
    assert line.endswith("... (such as row 1, id id )")


@pytest.mark.parametrize("line", [b"", b"no json", b"[]", b"{}", b'{"response": 1, "error": 2}', b'{"response": {}}'])
def test_failure_when_a_line_is_none_then_none(line: bytes) -> None:
    assert failure_of(line) is None


def test_reasons_when_there_is_no_file_then_none(tmp_path: Path) -> None:
    assert reasons_of_file(tmp_path / "gone").lines() == []


def test_failures_when_a_whole_file_is_wrong_then_its_lines() -> None:
    faults = [BatchFault("invalid_json_line", "line 3 is no JSON", None, 3), BatchFault("wrong_columns", "no", "join")]
    assert reasons_of(failures_of(faults)) == [
        "the file: invalid_json_line: line 3 is no JSON (line 3)", "the file: wrong_columns join: no",
    ]  # fmt: skip
    several = [BatchFault("invalid_json_line", "no JSON", None, line) for line in (3, 5)]
    assert reasons_of(failures_of(several)) == ["the file, 2 lines: invalid_json_line: no JSON (such as line 3)"]
