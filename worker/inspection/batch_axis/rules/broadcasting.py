"""Operators that work element by element, with numpy's broadcasting; the alignment is shared with other rules."""

from collections.abc import Sequence

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, rank_of, rows_of
from worker.inspection.batch_axis.rules.base import FIXED_SIZE, ROW_CONSTANT, Rule
from worker.inspection.batch_axis.rules.constants import rows_of_shape
from worker.inspection.batch_axis.sizes import ONE, MaybeSize
from worker.inspection.batch_axis.values import Dims, Rows, Value

_UNARY = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike", "Ceil", "Celu",
    "Clip", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf",
    "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
    "RegexFullMatch",
]  # fmt: skip
_BROADCASTING = [
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "StringConcat", "Sub", "Sum",
    "Where", "Xor",
]  # fmt: skip
_MICROSOFT_UNARY = ["Gelu", "QuickGelu"]
_MICROSOFT_BROADCASTING = ["BiasGelu", "FastGelu"]


def broadcast(values: Sequence[Value]) -> tuple[Rows | None, Dims | None]:
    """Return where the rows lie after broadcasting, and the shape.

    Raises:
        MixesError: when rows meet other rows, or a constant that differs from row to row.
        UnclearError: when the alignment is unknown.
    """
    dims = _broadcast_dims(values)
    holders = [value for value in values if value.rows is not None]
    if not holders:
        return None, dims
    if dims is None:
        return _lone_rows(values, holders), None
    placed = [_align(value, len(dims)) for value in holders]
    rows = placed[0]
    for other in placed[1:]:
        if other.axis != rows.axis:
            raise MixesError(
                "combines each row with every other row: the batch axes of its inputs do not line up",
                "keep the batch axis at the same place in both inputs",
            )
        if (other.outer, rows.outer) != (ONE, ONE) and other != rows:
            raise UnclearError("combines tensors whose rows lie in different order")
    for value in values:
        if value.rows is None and value.dims is not None:
            check_constant(value, rows.axis - len(dims))
    return rows, dims


def check_constant(value: Value, axis_from_right: int) -> None:
    """Refuse a tensor without rows that is longer than 1 along the axis of the rows."""
    if value.dims is None or len(value.dims) < -axis_from_right:
        return
    size = value.dims[axis_from_right]
    if size is None or size.number is None:
        raise UnclearError("combines rows with a tensor whose size along the batch axis is unknown")
    if size.number > 1:
        raise MixesError(*ROW_CONSTANT)


def _align(value: Value, rank: int) -> Rows:
    rows = rows_of(value)
    return rows.at(rows.axis + rank - rank_of(value))


def _lone_rows(values: Sequence[Value], holders: Sequence[Value]) -> Rows | None:
    """Handle unknown ranks: a scalar moves no axis."""
    if len(holders) == 1 and all(value.dims == () for value in values if value is not holders[0]):
        return holders[0].rows
    raise UnclearError("combines tensors of unknown rank")


def _broadcast_dims(values: Sequence[Value]) -> Dims | None:
    shapes = [value.dims for value in values if value.dims is not None]
    if len(shapes) < len(values):
        return None
    rank = max((len(dims) for dims in shapes), default=0)
    return tuple(_one_dim(shapes, position) for position in range(-rank, 0))


def _one_dim(shapes: Sequence[Dims], position: int) -> MaybeSize:
    there = [dims[position] for dims in shapes if len(dims) >= -position]
    larger = [size for size in there if size != ONE]
    if not larger:
        return ONE
    plain = [size for size in larger if size is not None and not size.names]
    return plain[0] if plain else larger[0]


def _elementwise(node: Node) -> Value:
    rows, dims = broadcast(node.present())
    return node.out(rows, dims)


def _unary(node: Node) -> Value:
    value = node.input()
    return node.out(value.rows, value.dims)


def _old_broadcast(node: Node) -> Value:
    """Before opset 7 the second input was aligned by attributes."""
    if node.opset >= 7 or len(node.present()) < 2 or not node.attribute("axis"):
        return _elementwise(node)
    raise UnclearError("aligns its inputs in the way of opset 6", "re-export with opset 13 or later")


def _dropout(node: Node) -> list[Value]:
    value = node.input()
    training = node.entries(2)
    is_training = training is None if node.find(2) is not None else node.opset < 7 and not node.attribute("is_test", 0)
    if is_training or (training and training != (None,) and training[0] is not None and training[0].factor):
        raise UnclearError("drops values at random", "export in evaluation mode (model.eval())", overrules=True)
    return [node.out(value.rows, value.dims), node.out(value.rows, value.dims, 1)]


def _string_normalizer(node: Node) -> Value:
    value = node.input()
    if node.attribute("stopwords"):
        raise UnclearError(
            "leaves out entries by their value", "remove stop words before the text is sent", overrules=True
        )
    return node.out(value.rows, value.dims)


def _expand(node: Node) -> Value:
    value, target = node.input(), node.entries(1)
    if target is None:
        raise UnclearError("expands to a shape that could not be followed")
    shape = Value(dims=target, rows=rows_of_shape(target))
    if value.rows is not None and shape.rows is None and value.dims is not None:
        axis = value.rows.axis - len(value.dims) + len(target)
        if axis >= 0 and target[axis] != ONE:
            raise UnclearError(*FIXED_SIZE)
    rows, dims = broadcast([value, shape])
    return node.out(rows, dims)


RULES: dict[tuple[str, str], Rule] = {
    **{("", name): _unary for name in _UNARY},
    **{("", name): _old_broadcast for name in _BROADCASTING},
    **{("com.microsoft", name): _unary for name in _MICROSOFT_UNARY},
    **{("com.microsoft", name): _elementwise for name in _MICROSOFT_BROADCASTING},
    ("", "Dropout"): _dropout,
    ("", "StringNormalizer"): _string_normalizer,
    ("", "Expand"): _expand,
}
