"""api.json_arrays: what becomes an array, what stays a list, and what is left to another parser."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import json_arrays
from api.json_parsing import parse_json


def nested(size: int) -> list:
    return [[float(row * 10 + column) for column in range(8)] for row in range(size)]


def test_read_when_many_numbers_then_a_float64_array_of_that_shape() -> None:
    got = json_arrays.read(json.dumps({"version": "mnist", "input": {"x": [nested(5), nested(5)]}}).encode())

    assert got["version"] == "mnist"
    assert got["input"]["x"].dtype == np.float64
    np.testing.assert_array_equal(got["input"]["x"], np.array([nested(5), nested(5)]))


def test_read_when_whole_numbers_then_int64_and_every_digit() -> None:
    got = json_arrays.read(json.dumps([2**53 + 1] * 40).encode())

    assert got.dtype == np.int64
    assert set(got.tolist()) == {2**53 + 1}


def test_read_when_whole_numbers_and_fractions_are_mixed_then_float64() -> None:
    got = json_arrays.read(json.dumps([0, 1, 0.5] * 20).encode())

    assert got.dtype == np.float64
    assert got[:3].tolist() == [0, 1, 0.5]


@pytest.mark.parametrize(
    "value",
    [
        [], [1, 784], [1.0] * 31, [[]] * 40, ["1"] * 40, [True] * 40, [1.0] * 39 + [None], [1.0] * 39 + ["a"],
        [[1.0] * 20, [1.0] * 21], [[1.0] * 40, 1.0], [1.0, [1.0] * 40], [{"a": 1}] * 40, [[1.0] * 20, {"a": [2.0]}],
        {"a": [{"b": [1.5]}], "c": {}},
    ],
)  # fmt: skip
def test_parse_json_when_arrays_are_small_uneven_or_not_of_numbers_then_the_same_value(value: object) -> None:
    assert _plain(parse_json(json.dumps(value).encode())) == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[1,]", b"NaN", b'{"a": NaN}', b"9" * 30, b'"\xff"', b'{"a": 1, "a": 2}', b'{"\\u0000": 1}', b"[" * 3000,
        json.dumps([[1.0, [], [2.0, 3.0]] * 20] * 2).encode(), json.dumps([[1.0] * 39 + [[1.0]]] * 2).encode(),
        json.dumps({"x": [1.0] * 40, "text": "["}).encode(),
    ],
)  # fmt: skip
def test_read_when_another_parser_must_decide_then_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        json_arrays.read(body)


@given(st.recursive(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
                    lambda inner: st.lists(inner, max_size=40), max_leaves=120))  # fmt: skip
def test_read_when_nested_anyhow_then_the_same_numbers_or_left_to_another_parser(value: object) -> None:
    try:
        got = json_arrays.read(json.dumps(value).encode())
    except ValueError:
        return
    assert (got.tolist() if isinstance(got, np.ndarray) else _plain(got)) == value


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("numbers", [[2**64 - 1, *range(40)], [*range(40), 2**63]])
def test_read_when_integers_need_all_64_bits_then_they_are_exact(numbers: list[int]) -> None:
    found = json_arrays.read(str(numbers).encode())
    assert found.dtype == np.uint64
    assert found.tolist() == numbers


def test_read_when_inputs_of_many_jobs_are_numbers_then_each_is_read_by_itself() -> None:
    found = json_arrays.read(b'{"inputs": [1, 2.5, ' + b"3, " * 40 + b"[" + b"1, " * 40 + b"1], [1, [2.5]]]}")["inputs"]
    assert found[:3] == [1, 2.5, 3]
    assert type(found[0]) is int
    assert found[-2].tolist() == [1] * 41
    assert found[-1] == [1, [2.5]]
    nested = json_arrays.read(b'{"input": {"inputs": [' + b"3, " * 40 + b"3]}}")["input"]["inputs"]
    assert isinstance(nested, np.ndarray)


@pytest.mark.parametrize("n_rows", [1, json_arrays._FEW_LISTS + 1])
def test_read_when_there_are_more_brackets_than_lists_then_left_to_another_parser(n_rows: int) -> None:
    rows = ",".join([json.dumps([1.5] * 40)] * n_rows)
    assert json_arrays.read(f'{{"m":"x","x":[{rows}]}}'.encode())["x"].shape == (n_rows, 40)
    for odd in (f'{{"m":"x","x":[{rows[:-4]}[1.5]]]}}', f'{{"m":"[","x":[{rows}]}}'):
        assert json.loads(odd)
        with pytest.raises(ValueError, match="lists within the last axis"):
            json_arrays.read(odd.encode())
