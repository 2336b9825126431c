import pytest

from api.terms import (
    ORDINARY,
    Terms,
    class_from_header,
    deadline_from_header,
    key_from_header,
    terms_from_headers,
    terms_from_parameters,
)
from ferry.errors import InvalidInputError
from ferry.jobs import JobClass


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("2h", 7200), ("200ms", 0.2), ("90", 90), (" 1.5 s ", 1.5), ("720h", 720 * 3600)],
)
def test_deadline_when_it_is_a_time_then_in_seconds(text: str, seconds: float) -> None:
    assert deadline_from_header(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "1d", "s", "1e3", "721h", "nan", "1 s s", "٣s", "9" * 12])
def test_deadline_when_it_is_none_then_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(InvalidInputError, match="expected 90s, 5m, 2h or 200ms, up to 720h"):
        deadline_from_header(text)


@pytest.mark.parametrize(
    ("text", "job_class"),
    [
        ("u=0", JobClass.HIGH), ("u=2", JobClass.HIGH), ("u=3", JobClass.NORMAL), ("u=5", JobClass.NORMAL),
        ("u=6", JobClass.BULK), ("u=7, i", JobClass.BULK), ("i, u=1", JobClass.HIGH), ("i", JobClass.NORMAL),
        ("u=8", JobClass.NORMAL), ("urgent", JobClass.NORMAL), ("", JobClass.NORMAL), (None, JobClass.NORMAL),
    ],
)  # fmt: skip
def test_class_when_the_urgency_is_said_then_its_class_and_normal_otherwise(
    text: str | None, job_class: JobClass
) -> None:
    assert class_from_header(text) is job_class


def test_terms_when_nothing_is_said_then_the_ordinary_ones() -> None:
    assert terms_from_headers({"host": "x"}) is ORDINARY


def test_terms_when_both_headers_are_there_then_both_are_read() -> None:
    assert terms_from_headers({"cancel-after": "2s", "priority": "u=7"}) == Terms(2.0, JobClass.BULK)


@pytest.mark.parametrize(
    ("parameters", "terms"),
    [
        ({}, Terms(9, JobClass.BULK)), ({"priority": 0, "timeout": 0}, Terms(9, JobClass.BULK)),
        ({"priority": 1}, Terms(9, JobClass.HIGH)), ({"priority": 2}, Terms(9, JobClass.NORMAL)),
        ({"priority": 5, "timeout": 1_500_000}, Terms(1.5, JobClass.BULK)),
    ],
)  # fmt: skip
def test_parameters_when_read_then_they_go_before_the_headers(parameters: dict[str, object], terms: Terms) -> None:
    assert terms_from_parameters(parameters, Terms(9, JobClass.BULK)) == terms


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"priority": -1}, "priority"), ({"priority": "1"}, "priority"), ({"priority": True}, "priority"),
        ({"timeout": 0.5}, "timeout"), ({"timeout": 10**15}, "timeout"), ({"timeout": None}, "timeout"),
    ],
)  # fmt: skip
def test_parameters_when_they_are_no_such_number_then_the_one_is_named(
    parameters: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        terms_from_parameters(parameters, ORDINARY)
    assert caught.value.faults[0].pointer == f"#/parameters/{pointer}"


@pytest.mark.parametrize(
    ("text", "key"), [("abc", "abc"), ('"8e03-78"', "8e03-78"), (" k ", "k"), ("x" * 255, "x" * 255), (None, None)]
)
def test_key_when_quoted_or_bare_then_the_same(text: str | None, key: str | None) -> None:
    assert key_from_header(text) == key


@pytest.mark.parametrize("text", ["", '""', "a b", "x" * 256, "schlüssel"])
def test_key_when_it_is_no_key_then_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="1 to 255 visible ASCII"):
        key_from_header(text)
