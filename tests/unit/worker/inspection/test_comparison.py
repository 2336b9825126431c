import numpy as np
import pytest

from worker.inspection.comparison import is_rounding, rounding_move, strict_move, usual_magnitude


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_strict_move_when_magnitudes_differ_then_each_element_is_judged_by_its_own() -> None:
    boxes_and_score, moved = f32(640, 0.5), f32(640, 0.5002)
    assert strict_move(boxes_and_score, moved) == pytest.approx(0.0002 / 0.64, rel=1e-2)


@pytest.mark.parametrize(
    ("one", "other", "move"),
    [
        (f32(1, np.nan), f32(1, np.nan), 0.0),
        (f32(np.inf), f32(np.inf), 0.0),
        (f32(1), f32(np.nan), float("inf")),
        (np.array([3]), np.array([4]), float("inf")),
        (np.array(["a"], object), np.array(["b"], object), float("inf")),
        (f32(1), f32(1, 2), float("inf")),
    ],
)
def test_strict_move_when_values_are_special_then_equal_or_not_comparable(
    one: np.ndarray, other: np.ndarray, move: float
) -> None:
    assert strict_move(one, other) == move
    assert rounding_move(one, other, 1.0) == move


def test_rounding_move_when_an_outcome_is_tiny_then_the_usual_magnitude_counts() -> None:
    assert rounding_move(f32(1e-6), f32(2e-6), 1.0) == pytest.approx(1e-6, rel=1e-3)
    assert rounding_move(f32(1.0), f32(1.001), 0.0) == pytest.approx(1e-3, rel=1e-2)


def test_usual_magnitude_when_rows_differ_then_the_median_of_their_largest() -> None:
    assert usual_magnitude(np.array([[1, -2], [300, 0], [0.1, np.nan]], np.float32)) == 2.0
    assert usual_magnitude(np.array([5, 6])) == 0.0


def test_is_rounding_when_the_dtype_is_exact_then_nothing_may_move() -> None:
    assert is_rounding(9e-4, "float32")
    assert not is_rounding(2e-3, "float32")
    assert is_rounding(1e-2, "float16")
    assert not is_rounding(float("inf"), "int64")
