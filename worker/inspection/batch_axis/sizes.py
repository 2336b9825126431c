"""Sizes of axes as products: a number times named sizes, one of which is the number of rows. Knows no tensor."""

from collections.abc import Iterable
from dataclasses import dataclass

# The name of the batch size. The space keeps it apart from the names that exporters write.
ROWS = "number of rows"
# Larger factors and longer products come from broken files only; they count as unknown.
_MAX_FACTOR = 2**63
_MAX_NAMES = 16


@dataclass(frozen=True, slots=True)
class Size:
    """`factor` times the product of `names`; also an entry of a shape held in a tensor, where it may be negative."""

    factor: int
    names: tuple[str, ...] = ()

    @property
    def counts_rows(self) -> bool:
        """Whether the number of rows is a part of it."""
        return ROWS in self.names

    @property
    def number(self) -> int | None:
        """The plain number, None when it has named parts."""
        return self.factor if not self.names else None


# None where a size is unknown.
MaybeSize = Size | None
ONE = Size(1)
ROW_COUNT = Size(1, (ROWS,))


def times(one: MaybeSize, other: MaybeSize) -> MaybeSize:
    """Multiply; None when a side is unknown or the product is too large to be true."""
    if one is None or other is None:
        return None
    factor = one.factor * other.factor
    names = tuple(sorted(one.names + other.names)) if factor else ()
    return None if abs(factor) > _MAX_FACTOR or len(names) > _MAX_NAMES else Size(factor, names)


def over(one: MaybeSize, other: MaybeSize) -> MaybeSize:
    """Divide; None unless the division is exact for every value of the names."""
    if one is None or other is None or other.factor == 0 or one.factor % other.factor:
        return None
    names = list(one.names)
    for name in other.names:
        if name not in names:
            return None
        names.remove(name)
    return Size(one.factor // other.factor, tuple(names))


def product(sizes: Iterable[MaybeSize]) -> MaybeSize:
    """Multiply all; None when one is unknown."""
    result: MaybeSize = ONE
    for size in sizes:
        result = times(result, size)
    return result
