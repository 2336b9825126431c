"""Reshape: finds the rows again in the new shape, also merged with the axes beside them and split from them."""

from dataclasses import dataclass

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node
from worker.inspection.batch_axis.rules.base import FIXED_SIZE, Rule
from worker.inspection.batch_axis.sizes import ROW_COUNT, MaybeSize, Size, over, product
from worker.inspection.batch_axis.values import Dims, Rows, Value

_CUTS = (
    "cuts the batch axis into pieces that do not follow the rows",
    "reshape to (-1, ...) or to a shape that starts with the batch size",
)


@dataclass(frozen=True, slots=True)
class _Source:
    """The elements around the rows: `before` of them outside, `after` inside one row."""

    before: MaybeSize
    after: MaybeSize
    fixed_rows: int | None


def _reshape(node: Node) -> Value:
    value = node.input()
    target = _target(node, value)
    if value.rows is None:
        return node.out(None, _without_rows(value, target))
    source = _Source(value.before(), value.after(), node.fixed_rows)
    target = _fill_gap(source, target)
    axis = _find_axis(source, target)
    rows = _split(source, target, axis)
    return node.out(rows, target)


def _target(node: Node, value: Value) -> Dims:
    """Return the new shape: None for the -1, and for what is unknown."""
    given = node.attribute("shape")
    entries = tuple(Size(number) for number in given) if given is not None else node.entries(1)
    if entries is None:
        raise UnclearError("reshapes to a shape that could not be followed")
    target: list[MaybeSize] = []
    for position, entry in enumerate(entries):
        if entry == Size(0) and not node.attribute("allowzero", 0):
            target.append(_copied(value, position))
        else:
            target.append(None if entry == Size(-1) else entry)
    return tuple(target)


def _copied(value: Value, position: int) -> MaybeSize:
    if value.rows is not None and value.rows.axis == position:
        return value.rows.size
    return value.dims[position] if value.dims is not None and position < len(value.dims) else None


def _without_rows(value: Value, target: Dims) -> Dims:
    if target.count(None) != 1 or value.dims is None:
        return target
    gap = over(product(value.dims), product(size for size in target if size is not None))
    return tuple(gap if size is None else size for size in target)


def _fill_gap(source: _Source, target: Dims) -> Dims:
    """Compute the one size that the target leaves open, where it can be computed."""
    if target.count(None) != 1:
        return target
    total = product((source.before, ROW_COUNT, source.after))
    if source.fixed_rows is not None and not any(size is not None and size.counts_rows for size in target):
        return target
    gap = over(total, product(size for size in target if size is not None))
    return tuple(gap if size is None else size for size in target)


def _find_axis(source: _Source, target: Dims) -> int:
    named = [axis for axis, size in enumerate(target) if size is not None and size.counts_rows]
    if len(named) > 1:
        raise UnclearError("reshapes to two axes that count the rows")
    if named:
        return named[0]
    if source.fixed_rows is not None:
        return _find_fixed(source, target, source.fixed_rows)
    gaps = [axis for axis, size in enumerate(target) if size is None]
    if not gaps:
        raise UnclearError(*FIXED_SIZE)
    if len(gaps) > 1:
        raise UnclearError("reshapes to a shape that could not be followed")
    return gaps[0]


def _find_fixed(source: _Source, target: Dims, fixed_rows: int) -> int:
    """Find the rows where their number is a plain number like the others."""
    for axis, size in enumerate(target):
        if product(target[:axis]) != source.before:
            continue
        if size is None or (size.number is not None and size.number % fixed_rows == 0):
            return axis
    raise UnclearError(*_CUTS)


def _split(source: _Source, target: Dims, axis: int) -> Rows:
    """Split the new axis into what lies outside the rows, the rows, and what lies inside."""
    outside, inside = product(target[:axis]), product(target[axis + 1 :])
    outer, inner = over(source.before, outside), over(source.after, inside)
    size = _row_multiple(target[axis], source.fixed_rows)
    if size is not None:
        # The stated size says more than inferred shapes do: what it contradicts cannot run.
        inner = over(size, outer) if outer is not None else inner
        outer = over(size, inner) if outer is None else outer
    if outer is not None and inner is not None:
        return Rows(axis, outer, inner)
    if _is_plain(source.before, outside) and outer is None:
        raise MixesError(*_CUTS)
    if size is None and outer is not None and inner is None and _is_plain(source.after, inside):
        raise MixesError("packs several rows into one", _CUTS[1])
    raise UnclearError("reshapes the batch axis together with axes of unknown size")


def _row_multiple(size: MaybeSize, fixed_rows: int | None) -> MaybeSize:
    """Return a size divided by the number of rows."""
    if size is None or size.counts_rows:
        return over(size, ROW_COUNT)
    return over(size, Size(fixed_rows)) if fixed_rows is not None else None


def _is_plain(one: MaybeSize, other: MaybeSize) -> bool:
    return one is not None and other is not None and one.number is not None and other.number is not None


RULES: dict[tuple[str, str], Rule] = {("", "Reshape"): _reshape}
