import re

import pytest

from ferry.jobs import Claim, ClaimedJob, JobClass, State, new_job_id


def test_new_job_id_when_made_then_26_lower_case_letters_and_digits_that_never_repeat() -> None:
    ids = {new_job_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[a-z2-7]{26}", each) for each in ids)


@pytest.mark.parametrize(
    ("state", "is_terminal"),
    [
        (State.QUEUED, False),
        (State.RUNNING, False),
        (State.SUCCEEDED, True),
        (State.FAILED, True),
        (State.CANCELED, True),
    ],
)
def test_is_terminal_when_asked_then_true_for_the_last_three(state: State, is_terminal: bool) -> None:
    assert state.is_terminal is is_terminal


def test_job_class_when_listed_then_in_the_order_of_claims() -> None:
    assert [str(each) for each in JobClass] == ["high", "normal", "bulk"]


def test_claim_when_it_has_jobs_then_its_rows_are_theirs() -> None:
    jobs = (ClaimedJob("a", 3, b"", 1, 7), ClaimedJob("b", 4, b"", 1, 7))
    assert Claim("token", jobs).rows == 7
    assert Claim("token", ()).rows == 0
