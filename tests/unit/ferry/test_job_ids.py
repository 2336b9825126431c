import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.access import check_name
from ferry.errors import InvalidInputError
from ferry.job_ids import SEPARATOR, own_id, scoped_id, split_id

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(st.lists(st.tuples(NAMES | st.just(""), NAMES), unique=True))
def test_scoped_id_when_owner_or_id_differs_then_another_that_tells_both(
    pairs: list[tuple[str, str]],
) -> None:
    scoped = [scoped_id(*pair) for pair in pairs]
    assert len(set(scoped)) == len(pairs)
    assert [split_id(each) for each in scoped] == pairs
    assert [own_id(each) for each in scoped] == [own for _, own in pairs]


def test_scoped_id_when_there_is_no_owner_then_the_id_itself() -> None:
    assert scoped_id("", "order-7") == "order-7"
    assert scoped_id("ann", "order-7") == "ann~order-7"


def test_separator_when_in_an_owners_name_then_no_such_owner() -> None:
    with pytest.raises(InvalidInputError):
        check_name(f"a{SEPARATOR}b", "owner")
