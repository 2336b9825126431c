"""Operators that make tensors from sizes and stored values."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.sizes import ONE, ROWS, MaybeSize, Size, over
from worker.inspection.batch_axis.values import Dims, Rows, Value


def rows_of_shape(entries: Dims) -> Rows | None:
    """Return the axis of a shape that counts the rows, None when there is none.

    Raises:
        UnclearError: when several do, or one counts them twice.
    """
    found = [axis for axis, size in enumerate(entries) if size is not None and size.counts_rows]
    if not found:
        return None
    if len(found) > 1:
        raise UnclearError("builds a tensor with two axes that count the rows")
    return rows_of_size(entries[found[0]], found[0])


def rows_of_size(size: MaybeSize, axis: int) -> Rows:
    """Return the rows of a new axis whose size is a multiple of the number of rows."""
    inner = over(size, Size(1, (ROWS,)))
    if inner is None or inner.counts_rows:
        raise UnclearError("builds an axis whose size is no plain multiple of the number of rows")
    return Rows(axis, inner=inner)


def _constant(node: Node) -> Value:
    for name in ("value_int", "value_float", "value_string"):
        if node.attribute(name) is not None:
            return node.out(None, ())
        if (given := node.attribute(f"{name}s")) is not None:
            return node.out(None, (Size(len(given)),))
    tensor = node.attribute("value")
    return node.out(None, None if tensor is None else tuple(Size(size) for size in tensor.dims))


def _constant_of_shape(node: Node) -> Value:
    target = node.entries(0)
    if target is None:
        raise UnclearError("builds a tensor of a shape that could not be followed")
    return node.out(rows_of_shape(target), target)


def _range(node: Node) -> Value:
    if any(value.data for value in node.present()):
        raise MixesError(
            "takes its length from the values of rows", "return outputs of a fixed size, and select after the answer"
        )
    start, limit, step = (node.entries(index) for index in range(3))
    if start == (Size(0),) and step == (ONE,) and limit:
        return node.out(rows_of_shape(limit), limit)
    return node.out(None, (None,))


def _like(node: Node) -> Value:
    value = node.input()
    return node.out(value.rows, value.dims)


RULES: dict[tuple[str, str], Rule] = {
    ("", "Constant"): _constant,
    ("", "ConstantOfShape"): _constant_of_shape,
    ("", "Range"): _range,
    ("", "EyeLike"): _like,
}
