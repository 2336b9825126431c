"""Operators that move axes and keep every element: the batch axis moves with them."""

from worker.inspection.batch_axis.findings import UnclearError
from worker.inspection.batch_axis.node import Node, axis_of, dims_of, rank_of
from worker.inspection.batch_axis.rules.base import FIXED_SIZE, Rule
from worker.inspection.batch_axis.sizes import ONE, product, times
from worker.inspection.batch_axis.values import Rows, Value


def _transpose(node: Node) -> Value:
    value = node.input()
    order = node.attribute("perm")
    if order is None:
        order = list(reversed(range(rank_of(value))))
    rows = None if value.rows is None else value.rows.at(list(order).index(value.rows.axis))
    return node.out(rows, None if value.dims is None else tuple(value.dims[axis] for axis in order))


def _unsqueeze(node: Node) -> Value:
    value, axes = node.input(), node.integers("axes", 1)
    if axes is None:
        raise UnclearError("names no axes", "check the model with onnx.checker")
    if value.rank is None and min(axes) < 0:
        raise UnclearError("counts an axis from the right of a tensor whose rank is unknown")
    rank = (value.rank or 0) + len(axes)
    new = {axis % rank if value.rank is not None else axis for axis in axes}
    rows = value.rows
    if rows is not None:
        place = rows.axis
        for axis in sorted(new):
            place += axis <= place
        rows = rows.at(place)
    if value.dims is None:
        return node.out(rows)
    old = iter(value.dims)
    return node.out(rows, tuple(ONE if axis in new else next(old) for axis in range(rank)))


def _squeeze(node: Node) -> Value:
    value, axes = node.input(), node.integers("axes", 1)
    if axes is None:
        return _squeeze_all(node, value)
    gone = {axis_of(value, axis) for axis in axes}
    rows = value.rows
    if rows is not None:
        if rows.axis in gone:
            raise UnclearError("removes the batch axis", FIXED_SIZE[1])
        rows = rows.at(rows.axis - sum(axis < rows.axis for axis in gone))
    kept = None if value.dims is None else tuple(size for axis, size in enumerate(value.dims) if axis not in gone)
    return node.out(rows, kept)


def _squeeze_all(node: Node, value: Value) -> Value:
    dims = dims_of(value)
    if value.rows is not None:
        raise UnclearError(
            "removes every axis of size 1, the batch axis of a single row too", "re-export with squeeze(dim=...)"
        )
    return node.out(None, tuple(size for size in dims if size != ONE) if all(dims) else None)


def _flatten(node: Node) -> Value:
    value = node.input()
    axis = int(node.attribute("axis", 1))
    if value.dims is None:
        if value.rows is not None and value.rows.axis == 0 and axis == 1:
            return node.out(value.rows, (value.rows.size, None))
        raise UnclearError("flattens a tensor whose rank is unknown")
    axis = axis % len(value.dims) if axis < 0 else axis
    dims = (product(value.dims[:axis]), product(value.dims[axis:]))
    if value.rows is None:
        return node.out(None, dims)
    if value.rows.axis < axis:
        inner = times(value.rows.inner, product(value.dims[value.rows.axis + 1 : axis]))
        return node.out(Rows(0, value.before(), inner), dims)
    outer = times(value.rows.outer, product(value.dims[axis : value.rows.axis]))
    return node.out(Rows(1, outer, value.after()), dims)


def _image_blocks(node: Node) -> Value:
    """DepthToSpace and SpaceToDepth move elements between the inner axes of (rows, channels, height, width)."""
    value = node.input()
    if value.rows is not None and value.rows.axis != 0:
        raise UnclearError("moves elements between axes, the batch axis among them")
    dims = None if value.dims is None else (value.dims[0], None, None, None)
    return node.out(value.rows, dims)


RULES: dict[tuple[str, str], Rule] = {
    ("", "Transpose"): _transpose,
    ("", "Unsqueeze"): _unsqueeze,
    ("", "Squeeze"): _squeeze,
    ("", "Flatten"): _flatten,
    ("", "DepthToSpace"): _image_blocks,
    ("", "SpaceToDepth"): _image_blocks,
}
