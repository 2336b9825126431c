"""What the walk knows of one tensor: where its rows lie, its shape, and the entries of a small shape tensor."""

from dataclasses import dataclass
from enum import IntEnum

from worker.inspection.batch_axis.sizes import ONE, ROW_COUNT, MaybeSize, Size, product, times

Dims = tuple[MaybeSize, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows lie: `axis` has size outer * rows * inner, with the row in the middle of the index.

    Both are 1 for a plain batch axis. A reshape of (rows, time, ...) to (rows * time, ...) gives `inner` = time.
    """

    axis: int
    outer: MaybeSize = ONE
    inner: MaybeSize = ONE

    @property
    def size(self) -> MaybeSize:
        """The size of the axis."""
        return product((self.outer, ROW_COUNT, self.inner))

    @property
    def is_plain(self) -> bool:
        """Whether one index of the axis is one row."""
        return self.outer == ONE and self.inner == ONE

    def at(self, axis: int) -> "Rows":
        """Return the same rows on another axis."""
        return Rows(axis, self.outer, self.inner)


class Counts(IntEnum):
    """Whether the content depends on the number of rows."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor.

    `dims` is None when the rank is unknown; `data` says that the content depends on what the rows hold, `counts` that
    it depends on how many there are. `entries` are the numbers of a tensor with at most one axis, where they are
    known. `padding` is the entry that fills up an inner axis as long as its longest row; None where no axis is such.
    `unknown` marks a tensor behind a node that the walk could not follow: nothing else of it is known then.
    """

    dims: Dims | None = None
    rows: Rows | None = None
    data: bool = False
    counts: Counts = Counts.NO
    entries: Dims | None = None
    is_float: bool | None = None
    padding: bytes | None = None
    unknown: bool = False

    @property
    def rank(self) -> int | None:
        """The number of axes, None when unknown."""
        return None if self.dims is None else len(self.dims)

    def before(self) -> MaybeSize:
        """The number of steps that lie outside the rows; None where it is unknown, or there are no rows."""
        if self.rows is None:
            return None
        if self.dims is None:
            return self.rows.outer if self.rows.axis == 0 else None
        return times(product(self.dims[: self.rows.axis]), self.rows.outer)

    def after(self) -> MaybeSize:
        """The number of elements of one row within one such step; None where it is unknown, or there are no rows."""
        if self.rows is None or self.dims is None:
            return None
        return times(self.rows.inner, product(self.dims[self.rows.axis + 1 :]))


UNKNOWN_VALUE = Value(unknown=True, counts=Counts.MAYBE)


def numbers(entries: Dims | None) -> list[int] | None:
    """Return entries as plain numbers; None unless all are."""
    if entries is None:
        return None
    plain = [entry.number for entry in entries if entry is not None]
    found = [number for number in plain if number is not None]
    return found if len(found) == len(entries) else None


def join(one: Value, other: Value) -> Value:
    """Return what holds for both: the value behind two branches."""
    if one.unknown or other.unknown or (one.rows, one.padding) != (other.rows, other.padding):
        return UNKNOWN_VALUE
    return Value(
        dims=_join_sizes(one.dims, other.dims),
        rows=one.rows,
        data=one.data or other.data,
        counts=max(one.counts, other.counts),
        entries=one.entries if one.entries == other.entries else None,
        is_float=one.is_float if one.is_float == other.is_float else None,
        padding=one.padding,
    )


def _join_sizes(one: Dims | None, other: Dims | None) -> Dims | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def fixed(number: int) -> Size:
    """Return a plain number as a size."""
    return Size(number)
