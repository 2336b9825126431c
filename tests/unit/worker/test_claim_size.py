import pytest

from worker.claim_size import FIRST_ROW_S, MIN_CLAIM_ROWS, MIN_ROWS_BESIDE_HIGH, TARGET_S, ClaimSize

MOST = 512


def rows(size: ClaimSize, *, run_s: float = 0.0, row_run_s: float = 1e-6, most: int = MOST) -> int:
    return size.rows(most, run_s=run_s, row_run_s=row_run_s)


def learn(size: ClaimSize, row_s: float, claims: int = 40, n_rows: int = 200) -> None:
    for _ in range(claims):
        size.observe(n_rows, n_rows * row_s)


def test_rows_when_nothing_was_measured_then_what_the_usual_cost_allows() -> None:
    assert rows(ClaimSize()) == round(TARGET_S / FIRST_ROW_S)


@pytest.mark.parametrize(
    ("row_s", "expected"), [(20e-6, 350), (50e-6, 140), (1e-3, MIN_CLAIM_ROWS), (1e-6, MOST)],
)  # fmt: skip
def test_rows_when_claims_were_measured_then_a_claim_takes_the_target_time(row_s: float, expected: int) -> None:
    size = ClaimSize()
    learn(size, row_s)
    assert rows(size) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("run_s", "row_run_s", "most", "expected"),
    [(0.0, 1e-6, 512, MIN_ROWS_BESIDE_HIGH), (100e-6, 0.0, 512, 50), (20e-3, 0.0, 512, 512), (0.0, 0.0, 8, 8)],
)
def test_rows_beside_high_when_a_run_has_a_fixed_cost_then_what_the_device_wants(
    run_s: float, row_run_s: float, most: int, expected: int
) -> None:
    assert ClaimSize().rows_beside_high(most, run_s=run_s, row_run_s=row_run_s) == expected


def test_rows_when_the_cost_changes_then_they_follow_it_both_ways() -> None:
    size = ClaimSize()
    learn(size, 20e-6)
    before = rows(size)
    learn(size, 50e-6)
    assert rows(size) < before
    learn(size, 20e-6)
    assert rows(size) == pytest.approx(before, rel=0.05)


def test_rows_when_one_claim_was_slow_then_the_average_moves_a_little() -> None:
    size = ClaimSize()
    learn(size, 40e-6)
    size.observe(200, 200 * 80e-6)
    assert size.row_s == pytest.approx(48e-6, rel=0.01)


def test_rows_when_a_run_costs_the_same_for_all_rows_then_the_device_is_filled() -> None:
    assert rows(ClaimSize(), run_s=0.02, row_run_s=0.0, most=256) == 256


def test_rows_when_the_limit_is_small_then_never_more() -> None:
    assert rows(ClaimSize(), most=8) == 8


def test_observe_when_a_claim_is_small_then_it_does_not_count() -> None:
    size = ClaimSize()
    size.observe(1, 0.01)
    assert size.row_s == FIRST_ROW_S
