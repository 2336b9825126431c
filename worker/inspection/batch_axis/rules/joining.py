"""Operators that put tensors together or cut them: Concat, Split, Slice, Pad, Tile."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, axis_of, dims_of, rows_of
from worker.inspection.batch_axis.rules.base import FIXED_SIZE, OVER_ROWS, Rule
from worker.inspection.batch_axis.rules.constants import rows_of_size
from worker.inspection.batch_axis.sizes import ONE, MaybeSize, Size, over, times
from worker.inspection.batch_axis.values import Dims, Rows, Value, numbers

# No batch is that long: exporters write such a number for "to the end".
_ENDS = 10**9
_CUT = ("cuts the batch axis: it keeps some of the rows, or changes their order", "slice inner axes only")


def _concat(node: Node) -> Value:
    values = node.present()
    axis = axis_of(values[0], int(node.attribute("axis", 1)))
    holders = [value for value in values if value.rows is not None]
    dims = _concat_dims(values, axis)
    if not holders:
        return node.out(None, dims)
    rows = rows_of(holders[0])
    if any(value.rows is None or value.rows.axis != rows.axis for value in holders):
        raise MixesError("puts tensors together whose batch axes do not line up", OVER_ROWS)
    if rows.axis == axis:
        return _stack_copies(node, values, rows, dims)
    if any(value.rows != rows for value in holders) and any(
        value.rows and value.rows.outer != ONE for value in holders
    ):
        raise UnclearError("puts tensors together whose rows lie in different order")
    for value in values:
        if value.rows is None:
            _check_length(value, rows.axis)
    return node.out(rows, dims)


def _check_length(value: Value, axis: int) -> None:
    size = value.dims[axis] if value.dims is not None and axis < len(value.dims) else None
    if size is not None and size.number is not None and size.number > 1:
        raise MixesError("joins each row with a stored value of its own", "expand one stored value to the batch size")
    raise UnclearError(*FIXED_SIZE)


def _stack_copies(node: Node, values: list[Value], rows: Rows, dims: Dims | None) -> Value:
    """Several tensors of the same rows, one behind the other: a split gives them back."""
    if all(value.rows == rows and rows.outer == ONE for value in values):
        return node.out(Rows(rows.axis, Size(len(values)), rows.inner), dims)
    raise MixesError("adds entries along the batch axis", "join along an inner axis")


def _concat_dims(values: list[Value], axis: int) -> Dims | None:
    shapes = [value.dims for value in values]
    if any(dims is None or len(dims) != len(shapes[0] or ()) or axis >= len(dims) for dims in shapes):
        return None
    known = [dims for dims in shapes if dims is not None]
    total = [dims[axis].number if dims[axis] else None for dims in known]  # type: ignore[union-attr]
    plain = [number for number in total if number is not None]
    length = Size(sum(plain)) if len(plain) == len(known) else None
    return tuple(
        length if place == axis else next((dims[place] for dims in known if dims[place]), None)
        for place in range(len(known[0]))
    )


def _split(node: Node) -> list[Value]:
    value = node.input()
    axis = axis_of(value, int(node.attribute("axis", 0)))
    count = len(node.proto.output)
    sizes: list[MaybeSize] = [None] * count
    given = node.attribute("split")
    entries = tuple(Size(size) for size in given) if given is not None else node.entries(1)
    if entries is not None and len(entries) == count:
        sizes = list(entries)
    elif entries is None and node.find(1) is None and value.dims is not None and axis < len(value.dims):
        sizes = [over(value.dims[axis], Size(count))] * count
    rows = value.rows
    if rows is not None and rows.axis == axis:
        if count == 1:
            return [node.out(rows, value.dims)]
        if rows.outer != Size(count) or len({*sizes}) > 1:
            raise MixesError(*_CUT)
        rows = Rows(rows.axis, ONE, rows.inner)
    return [node.out(rows, _with(value.dims, axis, size), index) for index, size in enumerate(sizes)]


def _with(dims: Dims | None, axis: int, size: MaybeSize) -> Dims | None:
    return None if dims is None else tuple(size if place == axis else old for place, old in enumerate(dims))


def _slice(node: Node) -> Value:
    value = node.input()
    starts, ends, axes, steps = (
        _bounds(node, name, index) for index, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    if axes is None and node.find(3) is None and starts is not None:
        axes = tuple(Size(axis) for axis in range(len(starts)))
    places = numbers(axes)
    if places is None:
        if value.rows is None:
            return node.out(None)
        raise UnclearError("slices axes that could not be followed")
    dims = None if value.dims is None else list(value.dims)
    rows = value.rows
    for place, given in enumerate(places):
        axis = axis_of(value, given)
        start, end = _at(starts, place), _at(ends, place)
        step = ONE if steps is None and node.find(4) is None else _at(steps, place)
        if value.rows is not None and value.rows.axis == axis:
            _check_whole(value.rows, start, end, step)
        elif dims is not None:
            rows = _cut(rows, (start, end, step), axis, dims)
    return node.out(rows, None if dims is None else tuple(dims))


def _bounds(node: Node, name: str, index: int) -> Dims | None:
    given = node.attribute(name)
    return tuple(Size(number) for number in given) if given is not None else node.entries(index)


def _at(entries: Dims | None, place: int) -> MaybeSize:
    return entries[place] if entries is not None and place < len(entries) else None


def _check_whole(rows: Rows, start: MaybeSize, end: MaybeSize, step: MaybeSize) -> None:
    """Allow only a slice that keeps every row in its place."""
    if None in (start, end, step):
        raise UnclearError("slices the batch axis with bounds that could not be followed")
    is_whole = end == rows.size or (end is not None and end.number is not None and end.number >= _ENDS)
    if (start, step) != (Size(0), ONE) or not is_whole:
        raise MixesError(*_CUT)


def _cut(
    rows: Rows | None, bounds: tuple[MaybeSize, MaybeSize, MaybeSize], axis: int, dims: list[MaybeSize]
) -> Rows | None:
    """Set the size of a sliced axis. A stored tensor cut to the number of rows gets a batch axis."""
    start, end, step = bounds
    if start == Size(0) and step == ONE and end is not None:
        if end.counts_rows:
            if rows is not None:
                raise UnclearError("cuts an inner axis at the number of rows")
            dims[axis] = end
            return rows_of_size(end, axis)
        old = dims[axis]
        if end.number is not None and end.number >= _ENDS:
            return rows
        if end.factor < 0:
            old = None if old is None or old.names else Size(max(old.factor + end.factor, 0))
        elif old is None or old.number is None or end.number is None:
            old = end if end.names else None
        else:
            old = Size(min(old.factor, end.factor))
        dims[axis] = old
        return rows
    if any(bound is not None and bound.counts_rows for bound in bounds):
        raise UnclearError("cuts an axis at the number of rows")
    dims[axis] = None
    return rows


def _pad(node: Node) -> Value:
    value = node.input()
    given = node.attribute("pads") or node.attribute("paddings")
    pads = tuple(Size(pad) for pad in given) if given is not None else node.entries(1)
    if value.rows is None:
        return node.out(None)
    axes = node.entries(3)
    if node.find(3) is not None and axes is None:
        raise UnclearError("pads axes that could not be followed")
    place = value.rows.axis
    if axes is not None:
        given_axes = [axis_of(value, axis.factor) for axis in axes if axis is not None]
        if place not in given_axes:
            return node.out(value.rows)
        place = given_axes.index(place)
    if pads is None or len(pads) % 2 or place >= len(pads) // 2:
        raise UnclearError("pads by an amount that could not be followed")
    around = (pads[place], pads[place + len(pads) // 2])
    if None in around:
        raise UnclearError("pads by an amount that could not be followed")
    if any(pad is not None and pad.counts_rows for pad in pads):
        raise UnclearError("pads by the number of rows")
    if around != (Size(0), Size(0)):
        raise MixesError("adds entries along the batch axis", "pad inner axes only")
    return node.out(value.rows, None if axes is not None or value.dims is None else _padded(value.dims, pads))


def _padded(dims: Dims, pads: Dims) -> Dims:
    around = zip(dims, pads[: len(dims)], pads[len(dims) :], strict=True)
    return tuple(size if (before, after) == (Size(0), Size(0)) else None for size, before, after in around)


def _tile(node: Node) -> Value:
    value, repeats = node.input(), node.entries(1)
    if repeats is None:
        raise UnclearError("repeats by an amount that could not be followed")
    dims = dims_of(value)
    if len(dims) != len(repeats):
        raise UnclearError("repeats by an amount that does not fit its input", "check the model with onnx.checker")
    rows = value.rows
    if rows is not None:
        rows = Rows(rows.axis, _copies(rows, repeats), rows.inner)
    elif counting := [axis for axis, size in enumerate(repeats) if size is not None and size.counts_rows]:
        axis = counting[0]
        rows = rows_of_size(times(repeats[axis], dims[axis]), axis)
    return node.out(rows, tuple(times(size, count) for size, count in zip(dims, repeats, strict=True)))


def _copies(rows: Rows, repeats: Dims) -> MaybeSize:
    """Copies of all rows, one behind the other, lie outside of them."""
    count = repeats[rows.axis]
    if count is None or count.counts_rows:
        raise UnclearError("repeats the batch axis by an amount that could not be followed")
    return times(rows.outer, count)


RULES: dict[tuple[str, str], Rule] = {
    ("", "Concat"): _concat,
    ("", "Split"): _split,
    ("", "Slice"): _slice,
    ("", "Pad"): _pad,
    ("", "Tile"): _tile,
}
