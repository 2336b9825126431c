"""Quantisation with stored scales: works element by element. Scales that lie along the batch axis do not."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, axis_of
from worker.inspection.batch_axis.rules.base import ROW_CONSTANT, Rule
from worker.inspection.batch_axis.rules.broadcasting import broadcast
from worker.inspection.batch_axis.rules.reductions import reduce_axes
from worker.inspection.batch_axis.sizes import ONE, product
from worker.inspection.batch_axis.values import Value


def _linear(node: Node) -> Value:
    """QuantizeLinear and DequantizeLinear."""
    value, scale = node.input(0), node.input(1)
    if any(other.rows is not None for other in node.present(1)):
        raise UnclearError("takes a scale that differs from row to row")
    is_single = scale.dims is not None and product(scale.dims) == ONE
    if value.rows is not None and not is_single:
        axis = axis_of(value, int(node.attribute("axis", 1)))
        if axis == value.rows.axis:
            raise MixesError(*ROW_CONSTANT)
    return node.out(value.rows, value.dims)


def _binary(left: int, right: int) -> Rule:
    """Return the rule of a quantised operator with two data inputs; the others are stored scales and zero points."""

    def rule(node: Node) -> Value:
        for index, value in enumerate(node.inputs):
            if index not in (left, right) and value is not None and value.rows is not None:
                raise UnclearError("takes a scale that differs from row to row")
        rows, dims = broadcast([node.input(left), node.input(right)])
        return node.out(rows, dims)

    return rule


def _unary(node: Node) -> Value:
    value = node.input()
    if any(other.rows is not None for other in node.present(1)):
        raise UnclearError("takes a scale that differs from row to row")
    return node.out(value.rows, value.dims)


def _softmax(node: Node) -> Value:
    value = node.input()
    axis = axis_of(value, int(node.attribute("axis", -1)))
    old = int(node.attribute("opset", 13)) < 13
    if value.rows is not None and (value.rows.axis >= axis if old else value.rows.axis == axis):
        raise MixesError("normalises over the batch axis", "keep the batch axis out of the operation's axes")
    return node.out(value.rows, value.dims)


def _global_average(node: Node) -> Value:
    value = node.input()
    channels_last = bool(node.attribute("channels_last", 0))
    axes = (1, 2) if channels_last else (2, 3)
    return reduce_axes(node, value, list(axes), keep=True)


def _concat(node: Node) -> Value:
    """QLinearConcat: an output scale and zero point, then (tensor, scale, zero point) for each tensor."""
    values = [value for value in node.inputs[2::3] if value is not None]
    axis = axis_of(values[0], int(node.attribute("axis", 0)))
    rows = [value.rows for value in values]
    if rows[0] is None or any(found != rows[0] for found in rows) or rows[0].axis == axis:
        raise UnclearError("puts tensors together whose batch axes do not line up")
    dims = values[0].dims
    return node.out(rows[0], None if dims is None else tuple(None if a == axis else s for a, s in enumerate(dims)))


RULES: dict[tuple[str, str], Rule] = {
    **{(domain, name): _linear for domain in ("", "com.microsoft") for name in ("QuantizeLinear", "DequantizeLinear")},
    **{("com.microsoft", f"QLinear{name}"): _binary(0, 3) for name in ("Add", "Mul")},
    **{("com.microsoft", f"QLinear{name}"): _unary for name in ("Sigmoid", "LeakyRelu")},
    ("com.microsoft", "QLinearSoftmax"): _softmax,
    ("com.microsoft", "QLinearGlobalAveragePool"): _global_average,
    ("com.microsoft", "QLinearConcat"): _concat,
}
