"""The forms in which people write inputs: one reading each, the same from both parsers; errors show the right form."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from api.json_parsing import parse_json
from api.references import read_reference
from ferry.errors import InvalidInputError
from ferry.json_forms import accepted_form
from ferry.json_tensors import Rows, read_flat_input, read_inputs
from ferry.manifest import Manifest, TensorSpec
from tests.manifests import manifest, spec

TABLE = manifest(inputs=(spec("age", "float32", 1), spec("k", "int64"), spec("name", "string", 1)))
COLUMN = manifest(inputs=(spec("x", "float32", 1),))
VECTOR = manifest(inputs=(spec("x", "float32"),))
ROWS = manifest(inputs=(spec("x", "float32", 3),))
WIDE = manifest(inputs=(spec("x", "float32", 40),))
TEXT = manifest(inputs=(spec("s", "string", 1),))
MIXED = manifest(inputs=(spec("age", "float32", 1), spec("x", "float32", 40)))
ACROSS = manifest(inputs=(TensorSpec(name="x", dtype="float32", shape=(1, None), batch_axis=1),))
WIDE_ROW = list(range(40))

# model, input as written, and what it is in the one form: values with the batch axis, and whether that was left out.
READINGS: list[tuple[Manifest, Any, dict[str, Any], bool]] = [
    # a bare value
    (ROWS, [1, 2, 3], {"x": [[1, 2, 3]]}, True),
    (ROWS, [[1, 2, 3], [4, 5, 6]], {"x": [[1, 2, 3], [4, 5, 6]]}, False),
    (WIDE, WIDE_ROW, {"x": [WIDE_ROW]}, True),
    (WIDE, [WIDE_ROW, WIDE_ROW], {"x": [WIDE_ROW, WIDE_ROW]}, False),
    (TEXT, "word", {"s": [["word"]]}, True),
    (TEXT, ["a", "b"], {"s": [["a"], ["b"]]}, False),
    (VECTOR, 30, {"x": [30]}, True),
    (VECTOR, [30, 40], {"x": [30, 40]}, False),
    # one element a row
    (COLUMN, 30, {"x": [[30]]}, True),
    (COLUMN, [30], {"x": [[30]]}, True),
    (COLUMN, [30, 40], {"x": [[30], [40]]}, False),
    (COLUMN, WIDE_ROW, {"x": [[each] for each in WIDE_ROW]}, False),
    (COLUMN, {"x": 30}, {"x": [[30]]}, True),
    (COLUMN, {"x": [30, 40]}, {"x": [[30], [40]]}, False),
    (COLUMN, {"x": [[30], [40]]}, {"x": [[30], [40]]}, False),
    (COLUMN, {"x": [[each] for each in WIDE_ROW]}, {"x": [[each] for each in WIDE_ROW]}, False),
    (COLUMN, {"x": WIDE_ROW}, {"x": [[each] for each in WIDE_ROW]}, False),
    (ACROSS, [30, 40], {"x": [[30], [40]]}, False),
    (ACROSS, WIDE_ROW, {"x": [[each] for each in WIDE_ROW]}, False),
    (ACROSS, 30, {"x": [[30]]}, True),
    # tables
    (TABLE, {"age": 30, "k": 1, "name": "a"}, {"age": [[30]], "k": [1], "name": [["a"]]}, True),
    (
        TABLE,
        {"age": [30, 40], "k": [1, 2], "name": ["a", "b"]},
        {"age": [[30], [40]], "k": [1, 2], "name": [["a"], ["b"]]},
        False,
    ),
    (TABLE, {"age": [30], "k": [1], "name": ["a"]}, {"age": [[30]], "k": [1], "name": [["a"]]}, False),
    (TABLE, {"age": [[30]], "k": [1], "name": ["a"]}, {"age": [[30]], "k": [1], "name": [["a"]]}, False),
    (TABLE, [{"age": 30, "k": 1, "name": "a"}], {"age": [[30]], "k": [1], "name": [["a"]]}, False),
    (
        TABLE,
        [{"age": 30.5, "k": 2**60 + 1, "name": "a"}, {"name": "b", "k": 2, "age": 40}],
        {"age": [[30.5], [40]], "k": [2**60 + 1, 2], "name": [["a"], ["b"]]},
        False,
    ),
    (
        TABLE,
        [{"age": at, "k": at, "name": str(at)} for at in range(50)],
        {"age": [[at] for at in range(50)], "k": list(range(50)), "name": [[str(at)] for at in range(50)]},
        False,
    ),
    (COLUMN, [{"x": 30}, {"x": 40}], {"x": [[30], [40]]}, False),
    (COLUMN, [{"x": 30}], {"x": [[30]]}, False),
    (COLUMN, [{"x": [30]}, {"x": [40]}], {"x": [[30], [40]]}, False),
    (ROWS, [{"x": [1, 2, 3]}], {"x": [[1, 2, 3]]}, False),
    (WIDE, [{"x": WIDE_ROW}, {"x": WIDE_ROW}], {"x": [WIDE_ROW, WIDE_ROW]}, False),
    (WIDE, [{"x": WIDE_ROW}, {"x": [0.5, *WIDE_ROW[1:]]}], {"x": [WIDE_ROW, [0.5, *WIDE_ROW[1:]]]}, False),
    (MIXED, {"age": 30, "x": WIDE_ROW}, {"age": [[30]], "x": [WIDE_ROW]}, True),
    (MIXED, {"age": [30], "x": [WIDE_ROW]}, {"age": [[30]], "x": [WIDE_ROW]}, False),
    (MIXED, {"age": [30], "x": WIDE_ROW}, {"age": [[30]], "x": [WIDE_ROW]}, True),
    (MIXED, [{"age": 30, "x": WIDE_ROW}], {"age": [[30]], "x": [WIDE_ROW]}, False),
]

REFUSED: list[tuple[Manifest, Any, str, str]] = [
    (TABLE, [30, 1, "a"], "#/input", "expected an object of inputs by name, got a list"),
    (TABLE, None, "#/input", "expected an object of inputs by name, got null"),
    (ROWS, None, "#/input", "expected an object of inputs by name, got null"),
    (TABLE, {"age": 30, "k": 1}, "#/input/name", "input 'name' is missing"),
    (TABLE, [{"age": 30, "k": 1, "name": "a"}, {"age": 30, "k": 1}], "#/input/1/name", "input 'name' is missing"),
    (TABLE, [{"age": 30, "k": 1, "name": "a", "z": 1}], "#/input/0/z", "toy:1 has no input 'z'"),
    (TABLE, [{"age": 30, "k": 1, "name": "a"}, 7], "#/input/1", "expected a row as an object, got the number"),
    (TABLE, [{"age": 30, "k": 1.5, "name": "a"}], "#/input/0/k", "row 1: expected a whole number (int64)"),
    (COLUMN, [{"x": 30}, {"x": "b"}], "#/input/1/x", "row 2: expected a number"),
    (TABLE, {"age": [30, 40], "k": 1, "name": ["a", "b"]}, "#/input", "some inputs have the batch axis"),
    (COLUMN, [{"x": 30}, {"x": [40]}], "#/input", "got a list"),
    (COLUMN, [[30, 40]], "#/input", "axis 1 has 2 entries, expected 1"),
    (COLUMN, {"x": [30, [40]]}, "#/input/x", "got a list"),
    (ROWS, 1, "#/input", "expected 2 axes (rows, 3), or 1 for a single row, got 0"),
    (ROWS, [1, 2], "#/input", "axis 1 has 2 entries, expected 3"),
    (ROWS, WIDE_ROW, "#/input", "axis 1 has 40 entries, expected 3"),
    (ROWS, [[1, 2, 3], {"x": 1}], "#/input/1", "expected a list here"),
    (ACROSS, [{"x": 1}, {"x": 2}], "#/input", "got a list of rows"),
]  # fmt: skip


def parsed_both_ways(value: Any) -> list[Any]:
    """Return a value as the parser for large arrays reads it, and as the plain one does."""
    text = orjson.dumps({"input": value})
    return [parse_json(text)["input"], orjson.loads(text)["input"]]


def same(found: Rows, wanted: dict[str, Any], given: Manifest) -> None:
    for spec_, array in zip(given.inputs, found.arrays, strict=True):
        right = np.array(wanted[spec_.name], spec_.numpy_dtype)
        assert array.dtype == right.dtype
        np.testing.assert_array_equal(array, right)


@pytest.mark.parametrize(("given", "value", "wanted", "single"), READINGS)
def test_read_inputs_when_written_in_any_form_then_both_parsers_give_the_same_rows(
    given: Manifest, value: Any, wanted: dict[str, Any], single: bool
) -> None:
    for parsed in parsed_both_ways(value):
        found = read_inputs(given, parsed)
        same(found, wanted, given)
        assert found.n_rows == len(next(iter(wanted.values())))
        assert found.single is single


@pytest.mark.parametrize(("given", "value", "pointer", "words"), REFUSED)
def test_read_inputs_when_a_form_is_wrong_then_both_parsers_name_the_field_and_the_right_form(
    given: Manifest, value: Any, pointer: str, words: str
) -> None:
    for parsed in parsed_both_ways(value):
        with pytest.raises(InvalidInputError) as caught:
            read_inputs(given, parsed)
        assert caught.value.faults[0].pointer == pointer
        assert words in caught.value.detail
        assert caught.value.detail.endswith(f"; {accepted_form(given)}")


@pytest.mark.parametrize(
    ("given", "form"),
    [
        (ROWS, 'toy:1 takes {"x": [[0.0, 0.0, 0.0]]} or [[0.0, 0.0, 0.0]]'),
        (WIDE, 'toy:1 takes {"x": [[0.0, ... 40 in all]]} or [[0.0, ... 40 in all]]'),
        (
            TABLE,
            'toy:1 takes {"age": [[0.0]], "k": [0], "name": [["text"]]} or [{"age": 0.0, "k": 0, "name": "text"}]',
        ),
        (ACROSS, 'toy:1 takes {"x": [[0.0]]} or [[0.0]]'),
        (
            manifest(inputs=(spec("x", "uint8", 28, 28, 1, range=(1, 9)),)),
            'toy:1 takes {"x": [[[[1], ... 28 in all], ... 28 in all]]} or [[[[1], ... 28 in all], ... 28 in all]]',
        ),
        (
            manifest(inputs=tuple(spec(f"c{at}", "bool") for at in range(300))),
            "toy:1 takes {" + ", ".join(f'"c{at}": [false]' for at in range(8)) + ", ...} or [{"
            + ", ".join(f'"c{at}": false' for at in range(8)) + ", ...}]",
        ),
    ],
)  # fmt: skip
def test_accepted_form_when_shown_then_it_is_short_and_of_this_model(given: Manifest, form: str) -> None:
    assert accepted_form(given) == form


@pytest.mark.parametrize("given", [ROWS, TABLE, COLUMN, TEXT])
def test_accepted_form_when_small_then_each_form_is_one_that_the_model_takes(given: Manifest) -> None:
    for form in accepted_form(given).removeprefix("toy:1 takes ").split(" or "):
        assert read_inputs(given, orjson.loads(form)).n_rows == 1


def test_read_inputs_when_rows_have_missing_values_then_the_row_is_named() -> None:
    value = [{"age": 30, "k": 1, "name": "a"}, {"age": None, "k": 1, "name": "a"}]
    with pytest.raises(InvalidInputError) as caught:
        read_inputs(TABLE, value)
    assert caught.value.faults[0].pointer == "#/input/1/age"
    assert caught.value.detail.startswith("row 2: input 'age' has a missing value")
    filled = manifest(inputs=(spec("age", "float32", 1, missing=-1),))
    assert read_inputs(filled, [{"age": 30}, {"age": None}]).arrays[0].tolist() == [[30], [-1]]
    assert read_inputs(filled, {"age": [30, None]}).arrays[0].tolist() == [[30], [-1]]
    assert read_inputs(filled, {"age": None}).arrays[0].tolist() == [[-1]]


def test_read_inputs_when_a_whole_job_has_one_element_a_row_then_the_short_forms_hold() -> None:
    given = manifest(inputs=(spec("x", "float32", 1),), mode="whole_job", max_rows=None)
    assert read_inputs(given, [30, 40]).arrays[0].tolist() == [[30], [40]]
    assert read_inputs(given, 30).arrays[0].tolist() == [[30]]
    assert read_inputs(given, [{"x": 30}, {"x": 40}]).arrays[0].tolist() == [[30], [40]]


def test_read_flat_input_when_one_number_is_a_row_then_it_needs_no_list() -> None:
    assert read_flat_input(COLUMN, 30, "#/x").arrays[0].tolist() == [[30]]
    with pytest.raises(InvalidInputError, match=r"; toy:1 takes \[0.0, 0.0, 0.0\]"):
        read_flat_input(ROWS, [1, 2], "#/x")


@pytest.mark.parametrize("last", [1, "wrong"])
def test_read_inputs_when_rows_are_ten_times_as_many_then_so_is_the_work(last: Any) -> None:
    large = manifest(inputs=TABLE.inputs, max_job_rows=1_000_000)
    assert calls_of(large, 2000, last) < 15 * calls_of(large, 200, last)


def calls_of(given: Manifest, n_rows: int, last: Any) -> int:
    """Return how many functions are called to read so many rows, the last with this age."""
    rows = [{"age": 1, "k": 2, "name": "a"} for _ in range(n_rows - 1)] + [{"age": last, "k": 2, "name": "a"}]
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read_inputs(given, rows)
    except InvalidInputError as error:
        pointer = error.faults[0].pointer
    else:
        pointer = ""
    finally:
        sys.setprofile(before)
    assert pointer == ("" if last == 1 else f"#/input/{n_rows - 1}/age")
    return calls


# --- docs/inputs.md

TITANIC = manifest("titanic", inputs=(spec("age", "float32", 1), spec("fare", "float32")))
EXAMPLES = re.findall(
    r"^```json (\w+)\n(.*?)^```$",
    (Path(__file__).parents[3] / "docs/inputs.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_docs_when_they_show_an_input_then_both_parsers_read_it(kind: str, text: str) -> None:
    given = ROWS if kind == "x" else TITANIC
    found = []
    for body in (parse_json(text.encode()), orjson.loads(text)):
        if kind == "model":
            assert read_reference(body) in {("titanic", None), ("titanic", "1")}
        found.append(read_inputs(given, body["input"] if kind == "model" else body))
    assert [array.tolist() for array in found[0].arrays] == [array.tolist() for array in found[1].arrays]
    assert found[0].n_rows == (2 if "4" in text else 1)  # where there are two rows, the second has a 4


def test_docs_when_searched_then_every_form_has_an_example() -> None:
    assert [kind for kind, _ in EXAMPLES].count("titanic") == 3
    assert {kind for kind, _ in EXAMPLES} == {"model", "x", "titanic"}
