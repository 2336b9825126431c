import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.preferences import MAX_WAIT_S, wait_from_prefer, wait_from_query
from ferry.errors import InvalidInputError

DEFAULT_S = 45


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("", None),
        ("respond-async", None),
        ("wait", DEFAULT_S),
        ("wait=1", 1),
        ("wait=60", 60),
        ("wait=0", 1),
        ("wait=61", 60),
        ("wait=999999", 60),
        ("WAIT=5", 5),
        ("Wait", DEFAULT_S),
        ("wait = 5", 5),
        ('wait="5"', 5),
        ("  wait=5  ", 5),
        ("respond-async, wait=5", 5),
        ("wait=5, respond-async", 5),
        ("wait=5, wait=9", 5),
        ("wait=5; foo=bar", 5),
        ("return=minimal,wait=7,handling=lenient", 7),
        # what cannot be read is no preference
        ("wait=", None),
        ("wait=soon", None),
        ("wait=-5", None),
        ("wait=5.5", None),
        ("wait=5s", None),
        ("wait=1000000", None),
        ("wait=\u0665", None),
        ("waiting=5", None),
        ("await=5", None),
        ("no wait", None),
        ("wait 5", None),
        (",,;=", None),
    ],
)
def test_wait_from_prefer_when_read_then_seconds_from_1_to_60_or_none(header: str | None, wait_s: float | None) -> None:
    assert wait_from_prefer(header, default_s=DEFAULT_S) == wait_s


@given(st.text())
def test_wait_from_prefer_when_the_header_is_anything_then_a_time_in_range_or_none(header: str) -> None:
    wait_s = wait_from_prefer(header, default_s=DEFAULT_S)
    assert wait_s is None or 1 <= wait_s <= MAX_WAIT_S


@pytest.mark.parametrize(("value", "wait_s"), [(None, None), ("0", 0), ("0.25", 0.25), ("60", 60), ("1e1", 10)])
def test_wait_from_query_when_it_is_a_time_then_seconds(value: str | None, wait_s: float | None) -> None:
    assert wait_from_query(value) == wait_s


@pytest.mark.parametrize("value", ["", "-0.1", "60.1", "nan", "inf", "-inf", "1e999", "soon", "5s", "0x5", "9" * 400])
def test_wait_from_query_when_it_is_none_then_refused_with_the_range(value: str) -> None:
    with pytest.raises(InvalidInputError, match="expected seconds from 0 to 60") as caught:
        wait_from_query(value)
    assert [fault.pointer for fault in caught.value.faults] == ["wait"]
    assert len(caught.value.detail) < 120
