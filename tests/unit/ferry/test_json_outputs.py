"""Tensors to JSON: nested lists, nulls for what is not finite, labels for scores."""

import numpy as np
import orjson
import pytest

from ferry.json_outputs import json_ready, top_labels


def as_json(value: object) -> object:
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_json_ready_when_values_are_not_finite_then_null(dtype: str) -> None:
    array = np.array([[1.5, np.nan], [np.inf, -np.inf]], dtype)
    assert as_json(json_ready(array, single=False)) == [[1.5, None], [None, None]]
    assert as_json(json_ready(array[:1], single=True)) == [1.5, None]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_ready_when_a_row_is_one_number_that_is_not_finite_then_null(value: float) -> None:
    assert json_ready(np.array([value], np.float32), single=True) is None


def test_json_ready_when_a_row_is_one_element_then_it_stands_without_a_list() -> None:
    assert json_ready(np.array([2.5], np.float32), single=True) == 2.5
    assert json_ready(np.array([7], np.int8), single=True) == 7
    assert json_ready(np.array([True]), single=True) is True
    assert json_ready(np.array(["seven"], dtype=object), single=True) == "seven"


def test_json_ready_when_text_then_nested_lists_of_strings() -> None:
    array = np.array([["a", ""], ["ü", "\n"]], dtype=object)
    assert json_ready(array, single=False) == [["a", ""], ["ü", "\n"]]
    assert json_ready(array[:1], single=True) == ["a", ""]


def test_json_ready_when_the_array_is_big_endian_or_strided_then_the_values_are_the_same() -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    assert as_json(json_ready(array[:, ::2], single=False)) == [[0, 2], [4, 6], [8, 10]]


def test_json_ready_when_an_inner_axis_is_empty_then_empty_lists() -> None:
    assert as_json(json_ready(np.empty((2, 0), np.float32), single=False)) == [[], []]


def test_top_labels_when_scores_match_then_one_label_a_row() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert top_labels(["no", "yes"], scores, single=False) == ["yes", "no"]
    assert top_labels(["no", "yes"], scores[:1], single=True) == "yes"


@pytest.mark.parametrize(
    ("labels", "shape"), [((), (1, 2)), (("a",), (1, 2)), (("a", "b"), (2,)), (("a", "b"), (1, 2, 2))]
)
def test_top_labels_when_scores_do_not_match_then_none(labels: tuple[str, ...], shape: tuple[int, ...]) -> None:
    assert top_labels(labels, np.zeros(shape), single=False) is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_top_labels_when_a_score_is_nan_then_that_row_has_no_label(dtype: str) -> None:
    scores = np.array([[0.1, 0.9], [0.8, np.nan], [np.nan, np.nan], [0.8, 0.2]], dtype)
    assert top_labels(["no", "yes"], scores, single=False) == ["yes", None, None, "no"]
    assert top_labels(["no", "yes"], scores[1:2], single=True) is None


def test_top_labels_when_a_score_is_infinite_then_it_is_still_the_highest_or_lowest() -> None:
    scores = np.array([[np.inf, 0.9], [0.8, -np.inf]], np.float32)
    assert top_labels(["no", "yes"], scores, single=False) == ["no", "no"]
    assert top_labels(["no", "yes"], scores[:1], single=True) == "no"


def test_top_labels_when_the_scores_are_whole_numbers_then_labels_as_ever() -> None:
    scores = np.array([[1, 2], [5, 3]])
    assert top_labels(["no", "yes"], scores, single=False) == ["yes", "no"]
    assert top_labels(["no", "yes"], scores[1:], single=True) == "no"
