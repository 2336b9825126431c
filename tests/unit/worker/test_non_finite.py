import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.manifest import TensorSpec
from tests.manifests import spec
from worker.non_finite import blanked, faults

NAN, INF = float("nan"), float("inf")
FLOATS = ["float16", "float32", "float64"]


def told(array: np.ndarray, *counts: int) -> dict[int, str]:
    return faults([spec("y", str(array.dtype), *array.shape[1:])], [array], counts or [len(array)])


# --- blanked


@pytest.mark.parametrize("dtype", FLOATS)
def test_blanked_when_some_are_not_finite_then_nan_for_each_and_the_rest_as_it_was(dtype: str) -> None:
    array = np.array([[1, INF], [-INF, 2], [NAN, 3]], dtype)
    (made,) = blanked([array])
    assert made.dtype == array.dtype
    np.testing.assert_array_equal(made, np.array([[1, NAN], [NAN, 2], [NAN, 3]], dtype))
    assert array[0, 1] == INF  # a copy: the model may own what it gave


def test_blanked_when_all_is_finite_then_nothing_is_copied() -> None:
    arrays = [np.ones((2, 3), np.float32), np.zeros((0, 3)), np.ones((2, 0))]
    assert all(made is array for made, array in zip(blanked(arrays), arrays, strict=True))


def test_blanked_when_the_elements_are_no_floats_then_not_looked_at() -> None:
    arrays = [np.array([1, 2]), np.array([True]), np.array(["nan"], object)]
    assert all(made is array for made, array in zip(blanked(arrays), arrays, strict=True))


# --- faults


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("number", "name"), [(NAN, "NaN"), (INF, "Infinity"), (-INF, "-Infinity")])
def test_faults_when_a_number_is_not_finite_then_it_is_named_with_output_and_row(
    dtype: str, number: float, name: str
) -> None:
    array = np.ones((5, 2), dtype)
    array[3, 1] = number
    assert told(array) == {0: f"output 'y' has {name} in row 3"}


def test_faults_when_several_rows_are_at_fault_then_each_jobs_first_counted_from_its_own() -> None:
    array = np.ones(9, np.float32)
    array[[1, 2, 5, 8]] = NAN, INF, INF, NAN
    assert told(array, 3, 2, 3, 1) == {
        0: "output 'y' has NaN in row 1",
        2: "output 'y' has Infinity in row 0",
        3: "output 'y' has NaN in row 0",
    }


def test_faults_when_a_row_has_several_then_its_first_in_order_is_named() -> None:
    assert told(np.array([[[1, -INF], [NAN, INF]]])) == {0: "output 'y' has -Infinity in row 0"}


def test_faults_when_several_outputs_are_at_fault_then_the_first_of_them_is_named() -> None:
    specs: list[TensorSpec] = [spec("n", "int64"), spec("a"), spec("b")]
    arrays = [np.array([1, 2]), np.array([1.0, NAN]), np.array([INF, INF])]
    assert faults(specs, arrays, [1, 1]) == {
        0: "output 'b' has Infinity in row 0",
        1: "output 'a' has NaN in row 0",
    }


@pytest.mark.parametrize(
    "array", [np.ones((3, 2)), np.zeros((0, 2)), np.ones((3, 0)), np.array([1, 2]), np.array(["nan"], object)]
)
def test_faults_when_there_are_none_then_nothing(array: np.ndarray) -> None:
    assert faults([spec("y")], [array], [len(array)]) == {}


@given(st.lists(st.lists(st.sampled_from([0.0, 1.5, NAN, INF, -INF]), min_size=1, max_size=4), min_size=1, max_size=8))
def test_faults_when_jobs_are_looked_at_together_then_told_of_each_as_alone(jobs: list[list[float]]) -> None:
    together = told(np.concatenate(jobs), *(len(job) for job in jobs))
    alone = [told(np.array(job)) for job in jobs]
    assert together == {index: each[0] for index, each in enumerate(alone) if each}


def test_both_when_numbers_are_large_then_finite_and_silent() -> None:
    array = np.full((4, 3), np.finfo(np.float32).max, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert blanked([array])[0] is array
        assert told(array) == {}
