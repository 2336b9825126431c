import numpy as np
import pytest

from worker.equality import TOLERANCE, largest_move, move_between

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("one", "other", "move"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 1.0], 0.5),
        ([NAN, INF, 2.0], [NAN, INF, 1.0], 0.5),
        ([NAN, 1.0], [1.0, NAN], INF),
        ([INF, 1.0], [-INF, 1.0], INF),
        ([INF], [INF], 0.0),
        ([], [], 0.0),
        ([1.0], [1.0, 2.0], INF),
        ([0.0], [1e-30], 1.0),
    ],
)
def test_move_between_when_floats_then_a_part_of_the_largest_value(
    one: list[float], other: list[float], move: float
) -> None:
    assert move_between(np.float32(one), np.float32(other)) == pytest.approx(move)


@pytest.mark.parametrize("dtype", ["int64", "bool", "object"])
def test_move_between_when_no_floats_then_equal_or_not(dtype: str) -> None:
    one, other = np.array([1, 0], dtype), np.array([0, 0], dtype)
    assert move_between(one, one.copy()) == 0
    assert move_between(one, other) == INF


def test_move_between_when_float16_overflows_a_difference_then_still_finite() -> None:
    assert move_between(np.float16([60_000]), np.float16([-60_000])) == 2.0


def test_largest_move_when_last_bits_differ_then_above_nothing_and_below_the_tolerance() -> None:
    one = np.float32([1.0, 0.5])
    assert 0 < largest_move([one, one], [one, np.nextafter(one, np.float32(2))]) < TOLERANCE
