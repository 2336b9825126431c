"""Sequences that are worked out where they are asked for are what a list of the same would be."""

import pytest

from ferry.bulk.formats.sequences import NumberNames, Repeated

CASES = [(Repeated("a", 4), ["a"] * 4), (Repeated(1, 0), []), (NumberNames(range(8, 12)), ["8", "9", "10", "11"])]


@pytest.mark.parametrize(("lazy", "expected"), CASES)
def test_sequences_when_asked_then_as_a_list(lazy, expected: list) -> None:
    assert list(lazy) == expected
    assert [lazy[at] for at in range(-len(expected), len(expected))] == expected * 2
    for part in (slice(None), slice(1, 3), slice(-2, None), slice(3, 0, -1), slice(9, 12)):
        assert list(lazy[part]) == expected[part]
    for beyond in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            lazy[beyond]
