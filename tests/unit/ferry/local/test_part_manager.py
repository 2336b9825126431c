import pytest

from ferry.local.part_manager import Ended


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "api ended with status 0"),
        (3, "api ended with status 3"),
        (-9, "api was ended by SIGKILL"),
        (-250, "api was ended by signal 250"),
    ],
)
def test_ended_says_how(status: int, text: str) -> None:
    assert str(Ended("api", status)) == text


def test_ended_when_it_did_so_again_and_again_says_how_often() -> None:
    assert (
        str(Ended("worker-1", 1, 5)) == "worker-1 ended with status 1 (it ended soon after its start 5 times in a row)"
    )
