import pytest

from api.refusals import retry_after_s
from tests.manifests import submission


@pytest.mark.parametrize(
    ("rows", "waiting_rows", "rows_a_s", "seconds"),
    [
        (1, 1000, 10.0, 10),  # a tenth of what waits, at the rate it drains
        (1, 1000, 1000.0, 1),
        (1, 1001, 10.0, 11),  # whole seconds, rounded up
        (500, 1000, 10.0, 50),  # a large job needs its own room
        (1, 10**9, 1.0, 600),
        (1, 1000, 0.0, 5),
    ],
)
def test_retry_after_s_when_rows_drain_then_the_time_until_it_has_eased(
    rows: int, waiting_rows: int, rows_a_s: float, seconds: int
) -> None:
    assert retry_after_s(submission(rows), waiting_rows, rows_a_s) == seconds
