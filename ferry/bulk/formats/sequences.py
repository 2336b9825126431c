"""Sequences that are worked out where they are asked for: a chunk of ten thousand plain rows holds no list of them.

Each equals another of its kind; to compare with a list or a tuple, make one of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Repeated(Sequence[T]):
    """`size` times the same value."""

    value: T
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "Repeated[T]": ...

    def __getitem__(self, index: int | slice) -> "T | Repeated[T]":
        if isinstance(index, slice):
            return Repeated(self.value, len(range(self.size)[index]))
        if not -self.size <= index < self.size:
            raise IndexError(f"{index} of {self.size}")
        return self.value

    def __iter__(self) -> Iterator[T]:
        return repeat(self.value, self.size)


@dataclass(frozen=True, slots=True)
class NumberNames(Sequence[str]):
    """Numbers as text: the ids of rows that have no names."""

    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "NumberNames": ...

    def __getitem__(self, index: int | slice) -> "str | NumberNames":
        return NumberNames(self.numbers[index]) if isinstance(index, slice) else str(self.numbers[index])

    def __iter__(self) -> Iterator[str]:
        return map(str, self.numbers)
