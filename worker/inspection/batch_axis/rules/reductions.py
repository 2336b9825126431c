"""Operators that work along an axis: reductions, softmax, sorting, running sums. Along the batch axis they mix rows."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, axis_of, rank_of
from worker.inspection.batch_axis.rules.base import OVER_ROWS, Rule
from worker.inspection.batch_axis.sizes import ONE
from worker.inspection.batch_axis.values import Value

_REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]


def _reduce(node: Node) -> Value:
    value = node.input()
    keep = bool(node.attribute("keepdims", 1))
    axes = node.integers("axes", 1)
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return node.out(value.rows, value.dims)
        return _reduce_all(node, value, keep=keep)
    return reduce_axes(node, value, [axis_of(value, axis) for axis in axes], keep=keep)


def _reduce_all(node: Node, value: Value, *, keep: bool) -> Value:
    if value.rows is not None:
        raise MixesError("reduces over all axes, the batch axis among them", "name the inner axes (dim=...) to reduce")
    return node.out(None, () if not keep else None if value.dims is None else (ONE,) * len(value.dims))


def reduce_axes(node: Node, value: Value, axes: list[int], *, keep: bool) -> Value:
    """Return what is left when `axes` are reduced to one entry, or removed."""
    rows = value.rows
    if rows is not None:
        if rows.axis in axes:
            raise MixesError("reduces over the batch axis", OVER_ROWS)
        if not keep:
            rows = rows.at(rows.axis - sum(axis < rows.axis for axis in axes))
    if value.dims is None:
        return node.out(rows)
    if keep:
        return node.out(rows, tuple(ONE if axis in axes else size for axis, size in enumerate(value.dims)))
    return node.out(rows, tuple(size for axis, size in enumerate(value.dims) if axis not in axes))


def _arg_reduce(node: Node) -> Value:
    value = node.input()
    axis = axis_of(value, int(node.attribute("axis", 0)))
    return reduce_axes(node, value, [axis], keep=bool(node.attribute("keepdims", 1)))


def _softmax(node: Node) -> Value:
    """Up to opset 12 all axes from `axis` on are taken as one."""
    value = node.input()
    old = node.opset < 13
    axis = axis_of(value, int(node.attribute("axis", 1 if old else -1)))
    if value.rows is not None and (value.rows.axis >= axis if old else value.rows.axis == axis):
        raise MixesError("normalises over the batch axis", OVER_ROWS)
    return node.out(value.rows, value.dims)


def along(default: int, what: str, *, outputs: int = 1) -> Rule:
    """Return the rule of an operator that works along the attribute `axis` and keeps the shape."""

    def rule(node: Node) -> list[Value]:
        value = node.input()
        axis = axis_of(value, int(node.attribute("axis", default)))
        if value.rows is not None and value.rows.axis == axis:
            raise MixesError(what, OVER_ROWS)
        return [node.out(value.rows, value.dims, index) for index in range(outputs)]

    return rule


def _top_k(node: Node) -> list[Value]:
    value = node.input()
    axis = axis_of(value, int(node.attribute("axis", -1)))
    if value.rows is not None and value.rows.axis == axis:
        raise MixesError("sorts or picks along the batch axis", OVER_ROWS)
    dims = None
    if value.dims is not None:
        count = node.entries(1)
        new = count[0] if count else None
        dims = tuple(new if place == axis else size for place, size in enumerate(value.dims))
    return [node.out(value.rows, dims, index) for index in range(2)]


def _running(node: Node) -> Value:
    value = node.input()
    axes = node.integers("axis", 1)
    if not axes:
        raise UnclearError("names no axis", "check the model with onnx.checker")
    if value.rows is not None and value.rows.axis == axis_of(value, axes[0]):
        raise MixesError("runs a total along the batch axis", OVER_ROWS)
    return node.out(value.rows, value.dims)


def _from_axis(node: Node) -> list[Value]:
    """Layer normalisation: statistics over all axes from `axis` on."""
    value = node.input()
    axis = axis_of(value, int(node.attribute("axis", -1)))
    if value.rows is not None and value.rows.axis >= axis:
        raise MixesError("takes its statistics over the batch axis", "normalise over inner axes only")
    _check_parameters(node)
    return [node.out(value.rows, value.dims), node.out(value.rows, None, 1), node.out(value.rows, None, 2)]


def _check_parameters(node: Node) -> None:
    if any(value.rows is not None for value in node.present(1)):
        raise UnclearError("takes parameters that differ from row to row")


def _mean_variance(node: Node) -> Value:
    value = node.input()
    axes = node.attribute("axes", [0, 2, 3])
    if value.rows is not None and value.rows.axis in {axis_of(value, int(axis)) for axis in axes}:
        raise MixesError("takes its statistics over the batch axis", "leave the batch axis out of its axes")
    return node.out(value.rows, value.dims)


def _last_two(node: Node) -> Value:
    """Operators on the matrices of the last two axes."""
    value = node.input()
    if value.rows is not None and value.rows.axis >= rank_of(value) - 2:
        raise MixesError("works on matrices that the batch axis is part of", "add a batch axis in front")
    return node.out(value.rows, value.dims if node.op_type in {"Trilu", "Inverse"} else value.dims and value.dims[:-2])


RULES: dict[tuple[str, str], Rule] = {
    **{("", f"Reduce{name}"): _reduce for name in _REDUCTIONS},
    ("", "ArgMax"): _arg_reduce,
    ("", "ArgMin"): _arg_reduce,
    ("", "Softmax"): _softmax,
    ("", "LogSoftmax"): _softmax,
    ("", "Hardmax"): _softmax,
    ("", "LpNormalization"): along(-1, "normalises over the batch axis"),
    ("", "TopK"): _top_k,
    ("", "CumSum"): _running,
    ("", "CumProd"): _running,
    ("", "LayerNormalization"): _from_axis,
    ("", "RMSNormalization"): _from_axis,
    ("", "SimplifiedLayerNormalization"): _from_axis,
    ("", "MeanVarianceNormalization"): _mean_variance,
    ("", "Trilu"): _last_two,
    ("", "Det"): _last_two,
    ("com.microsoft", "Inverse"): _last_two,
    ("com.microsoft", "Trilu"): _last_two,
}
