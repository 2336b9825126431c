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
