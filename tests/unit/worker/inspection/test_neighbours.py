import numpy as np
import pytest

from ferry.manifest import OIP_DATATYPES
from worker.inspection.neighbours import ESSENTIAL, KINDS, changed_rows


def array_of(dtype: str) -> np.ndarray:
    if dtype == "string":
        return np.array([["0", "1"], ["1", "0"]], dtype=object)
    return np.array([[0, 1], [1, 0]]).astype(dtype)


def changed(array: np.ndarray, kind: str, low: int = 0, top: int = 100) -> np.ndarray:
    return changed_rows({"x": array}, kind, {"x": (low, top)}, np.random.default_rng(0))["x"]


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_changed_rows_when_a_kind_is_chosen_then_shape_and_dtype_stay(dtype: str, kind: str) -> None:
    array = array_of(dtype)
    got = changed(array, kind)
    assert (got.shape, got.dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
def test_changed_rows_when_kinds_differ_then_most_rows_are_other_ones(dtype: str) -> None:
    array = array_of(dtype)
    others = [kind for kind in KINDS if not np.array_equal(changed(array, kind), array)]
    assert len(others) >= len(KINDS) - 1
    assert set(ESSENTIAL) <= set(others)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "zeros"])
def test_changed_rows_when_numbers_are_bounded_then_they_stay_within(kind: str) -> None:
    got = changed(np.array([[1000, 1049], [1003, 1020]]), kind, 1000, 1049)
    assert got.min() >= 1000
    assert got.max() <= 1049
