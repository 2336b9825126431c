import pytest

from api.refusals import check_fits_at_all, retry_after_s
from ferry.errors import InvalidInputError
from ferry.settings import Settings
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


@pytest.mark.parametrize(("rows", "remedy"), [(2, "send them as several jobs"), (1, "raise FERRY_MAX_WAITING_BYTES")])
def test_check_fits_at_all_when_bytes_are_more_than_may_wait_then_a_remedy_that_helps(rows: int, remedy: str) -> None:
    settings = Settings(_env_file=None, max_waiting_bytes=1_000_000)
    with pytest.raises(InvalidInputError, match=f"{rows} rows of 1000001 bytes are more than may wait .*; {remedy}"):
        check_fits_at_all(settings, submission(rows, bytes(1_000_001)))
    check_fits_at_all(settings, submission(rows, bytes(1_000_000)))
