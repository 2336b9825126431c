"""The rule for missing values: which a dtype can have, and what it does to JSON and raw tensors."""

import math

import numpy as np
import orjson
import pytest
from pydantic import ValidationError

from ferry.errors import InvalidInputError
from ferry.json_tensors import read_flat_row, read_inputs
from ferry.manifest import Manifest, TensorSpec
from ferry.missing_rules import MissingRule, read_rule
from ferry.oip import read_infer_request, read_raw_request
from tests.manifests import manifest, spec

WHY = "has a missing value (null, NaN or an empty cell)"


def of(dtype: str = "float32", *inner: int | None, missing: MissingRule = "error", **more: object) -> Manifest:
    return manifest(inputs=(spec("x", dtype, *inner, missing=missing, **more),))


def detail_of(call) -> str:
    with pytest.raises(InvalidInputError) as caught:
        call()
    assert caught.value.faults[0].detail == caught.value.detail
    return caught.value.detail


# --- the rule in the manifest


@pytest.mark.parametrize(
    ("dtype", "rule"),
    [
        ("float32", "error"),
        ("float16", "nan"),
        ("float64", 0),
        ("float64", 0.5),
        ("float32", -1),
        ("int64", 2**53 + 1),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
        ("bool", True),
        ("bool", False),
        ("string", ""),
        ("string", "none"),
    ],
)
def test_missing_when_it_fits_then_it_comes_back_from_json_as_it_was(dtype: str, rule: MissingRule) -> None:
    made = spec("x", dtype, missing=rule)
    again = TensorSpec.model_validate_json(made.model_dump_json())
    assert again.missing == rule
    assert type(again.missing) is type(rule)


@pytest.mark.parametrize(
    ("dtype", "rule", "words"),
    [
        ("int64", "nan", "int64 has no NaN"),
        ("bool", "nan", "bool has no NaN"),
        ("string", "nan", "text has no NaN"),
        ("string", 1, "not a text"),
        ("int64", 0.5, "not a value of int64"),
        ("int64", True, "not a value of int64"),
        ("bool", 1, "not a value of bool"),
        ("float32", True, "not a value of float32"),
        ("float32", "none", "not a value of float32"),
        ("int8", 128, "outside of int8, which holds -128 to 127"),
        ("float16", 1e5, "outside of float16"),
        ("float64", 10**400, "outside of float64"),
        ("float32", math.nan, "missing"),
        ("float32", math.inf, "missing"),
    ],
)
def test_missing_when_it_does_not_fit_then_the_manifest_is_refused(dtype: str, rule: MissingRule, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec("x", dtype, missing=rule)


def test_missing_when_it_is_outside_the_range_then_the_manifest_is_refused() -> None:
    with pytest.raises(ValidationError, match="2 is outside of the input's range, 0 to 1"):
        spec("x", missing=2, range=(0, 1))
    assert spec("x", missing="nan", range=(0, 1)).missing == "nan"


def test_missing_when_an_output_has_a_rule_then_the_manifest_is_refused() -> None:
    with pytest.raises(ValidationError, match="output y: `missing` is for inputs"):
        manifest(outputs=(spec("y", missing="nan"),))


def test_digest_when_the_rule_differs_then_it_is_another_version() -> None:
    assert of().digest == manifest(inputs=(spec("x"),)).digest
    assert len({of().digest, of(missing="nan").digest, of(missing=0).digest, of(missing=1).digest}) == 4


@pytest.mark.parametrize(
    ("word", "dtype", "rule"),
    [
        ("error", "int8", "error"),
        ("error", "string", "error"),
        ("nan", "float32", "nan"),
        ("NaN", "float32", "nan"),
        ("0", "float32", 0.0),
        ("-1.5", "float64", -1.5),
        ("007", "int64", 7),
        ("false", "bool", False),
        ("", "string", ""),
        ("a=b", "string", "a=b"),
    ],
)
def test_read_rule_when_it_is_a_word_then_of_the_inputs_type(word: str, dtype: str, rule: MissingRule) -> None:
    read = read_rule(word, dtype)
    assert read == rule
    assert type(read) is type(rule)


@pytest.mark.parametrize(("word", "dtype"), [("x", "float32"), ("1.5", "int64"), ("1", "bool"), ("", "int8")])
def test_read_rule_when_it_is_no_value_then_refused(word: str, dtype: str) -> None:
    with pytest.raises(InvalidInputError, match="is not error, nan or a value of"):
        read_rule(word, dtype)


# --- JSON

NULLS = [[[1, 2, None]], [[1, 2, 3], [4, None, 6]], [1, None, 3]]


@pytest.mark.parametrize("value", NULLS)
@pytest.mark.parametrize("absent", [None, math.nan])
@pytest.mark.parametrize(("rule", "filled"), [("nan", math.nan), (-1, -1.0)])
def test_read_inputs_when_numbers_are_missing_then_they_are_as_the_rule_says(
    value: list, absent: object, rule: MissingRule, filled: float
) -> None:
    given = orjson.loads(orjson.dumps(value))
    sent = _with(given, absent)
    rows = read_inputs(of("float32", 3, missing=rule), {"x": sent}).arrays[0]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.array(_with(given, filled), np.float32).reshape(-1, 3))


def _with(value: object, filled: object) -> object:
    if isinstance(value, list):
        return [_with(item, filled) for item in value]
    return filled if value is None else value


@pytest.mark.parametrize("absent", [None, math.nan])
@pytest.mark.parametrize(
    ("value", "where"),
    [(NULLS[0], " at column 3;"), (NULLS[1], "row 2: "), (NULLS[1], " at column 2;"), (NULLS[2], "column 2;")],
)
def test_read_inputs_when_numbers_are_missing_without_a_rule_then_row_column_and_remedy_are_named(
    value: list, absent: object, where: str
) -> None:
    detail = detail_of(lambda: read_inputs(of("float32", 3), {"x": _with(value, absent)}))
    assert WHY in detail
    assert where in detail
    assert "`ferry models add --missing x=nan`" in detail


@pytest.mark.parametrize(
    ("dtype", "rule", "good"), [("int64", 2**53 + 1, 2**62 + 1), ("bool", True, False), ("string", "none", "")]
)
def test_read_inputs_when_elements_of_another_kind_are_missing_then_the_value_is_exact(
    dtype: str, rule: MissingRule, good: object
) -> None:
    rows = read_inputs(of(dtype, 1, missing=rule), {"x": [[good], [None]]}).arrays[0]
    assert rows.reshape(-1).tolist() == [good, rule]
    assert WHY in detail_of(lambda: read_inputs(of(dtype, 1), {"x": [[good], [None]]}))


def test_read_inputs_when_rows_lie_along_another_axis_then_the_row_is_still_named() -> None:
    given = manifest(inputs=(TensorSpec(name="x", dtype="float32", shape=(2, None, 2), batch_axis=1),))
    detail = detail_of(lambda: read_inputs(given, {"x": [[[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, None]]]}))
    assert detail.startswith("row 3: ")
    assert "at position (2, 2)" in detail


def test_read_inputs_when_another_value_is_wrong_beside_a_missing_one_then_it_is_named() -> None:
    assert "got the string 'a'" in detail_of(lambda: read_inputs(of("float32", 3, missing=0), {"x": [[None, "a", 1]]}))
    outside = of("float32", 3, missing="nan", range=(0, 1))
    assert "2 is above 1" in detail_of(lambda: read_inputs(outside, {"x": [[None, 2, 1]]}))
    assert np.isnan(read_inputs(outside, {"x": [[None, 0, 1]]}).arrays[0]).sum() == 1
    assert "is not a finite number" in detail_of(lambda: read_inputs(outside, {"x": [[None, math.inf, 1]]}))


def test_read_flat_row_when_a_value_is_missing_then_the_rule_holds() -> None:
    assert read_flat_row(of("float32", 2, 2, missing=5).inputs[0], [1, None, 3, 4], "#/x").tolist() == [
        [[1, 5], [3, 4]]
    ]
    assert "at position (1, 2)" in detail_of(
        lambda: read_flat_row(of("float32", 2, 2).inputs[0], [1, None, 3, 4], "#/x")
    )


# --- the infer protocol


def infer(given: Manifest, values: list, *, is_binary: bool) -> np.ndarray:
    item = {"name": "x", "shape": [2, 3], "datatype": "FP32"}
    if not is_binary:
        return read_infer_request(given, {"inputs": [item | {"data": values}]}).rows.arrays[0]
    raw = np.array(values, np.float32).tobytes()
    return read_infer_request(
        given, {"inputs": [item | {"parameters": {"binary_data_size": len(raw)}}]}, raw
    ).rows.arrays[0]


@pytest.mark.parametrize("is_binary", [True, False])
def test_infer_when_values_are_missing_then_json_and_raw_have_the_same_rule(is_binary: bool) -> None:
    values = [1, 2, 3, 4, None, 6]
    assert infer(of("float32", 3, missing=9), values, is_binary=is_binary).tolist() == [[1, 2, 3], [4, 9, 6]]
    assert np.isnan(infer(of("float32", 3, missing="nan"), values, is_binary=is_binary)[1, 1])
    assert np.isnan(infer(of("float32", 3, missing="nan", range=(0, 9)), values, is_binary=is_binary)[1, 1])
    detail = detail_of(lambda: infer(of("float32", 3), values, is_binary=is_binary))
    assert detail.startswith(f"row 2: input 'x' {WHY} at column 2; the model takes none")


def test_raw_request_when_a_value_is_nan_then_the_rule_holds() -> None:
    raw = np.array([1, np.nan, 3], np.float32).tobytes()
    assert read_raw_request(of("float32", 3, missing=0), raw).rows.arrays[0].tolist() == [[1, 0, 3]]
    assert "at column 2" in detail_of(lambda: read_raw_request(of("float32", 3), raw))


def test_infer_when_a_scalar_is_null_then_the_rule_holds() -> None:
    given = manifest(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(), batch_axis=None, missing=3),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(), batch_axis=None),),
        mode="whole_job",
        max_rows=None,
    )
    item = {"name": "x", "shape": [], "datatype": "FP32", "data": None}
    assert read_infer_request(given, {"inputs": [item]}).rows.arrays[0].tolist() == 3
    assert read_inputs(given, {"x": None}).arrays[0].tolist() == 3
