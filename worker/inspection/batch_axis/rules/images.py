"""Operators on (rows, channels, ...): convolution, pooling, their normalisations, and resizing."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, rows_of
from worker.inspection.batch_axis.rules.base import EVALUATION, ROW_CONSTANT, Rule
from worker.inspection.batch_axis.sizes import ONE, ROWS, Size
from worker.inspection.batch_axis.values import Dims, Value

_CHANNEL_SUM = ("sums over the batch axis, which it takes for its channels", "put the batch axis first")
_NEIGHBOURS = ("combines neighbours along the batch axis", "put the batch axis first")
_STATISTICS = ("takes its statistics over the batch axis", "put the batch axis first")


def _conv(data: int, weights: tuple[int, ...]) -> Rule:
    """Return the rule of a convolution: the inputs that hold its data and its parameters."""

    def rule(node: Node) -> Value:
        value = node.input(data)
        if any((found := node.find(index)) is not None and found.rows is not None for index in weights):
            raise UnclearError("takes weights that differ from row to row")
        if value.rows is None:
            return node.out(None)
        if value.rows.axis == 1:
            if int(node.attribute("group", 1)) == 1:
                raise MixesError(*_CHANNEL_SUM)
            raise UnclearError("takes the batch axis for its channels")
        _check_window(node, value.rows.axis - 2, _kernel(node, weights))
        return node.out(value.rows, _window_dims(value, node, weights))

    return rule


def _kernel(node: Node, weights: tuple[int, ...]) -> list[int | None]:
    given = node.attribute("kernel_shape")
    if given is not None:
        return [int(size) for size in given]
    value = node.find(weights[0]) if weights else None
    return [] if value is None or value.dims is None else [size.number if size else None for size in value.dims[2:]]


def _window_dims(value: Value, node: Node, weights: tuple[int, ...]) -> Dims | None:
    if value.dims is None:
        return None
    kernel = node.find(weights[0]) if weights else None
    channels = None if weights else value.dims[1]
    if kernel is not None and kernel.dims and node.op_type in {"Conv", "ConvInteger", "QLinearConv"}:
        channels = kernel.dims[0]
    return (value.dims[0], channels, *(None for _ in value.dims[2:]))


def _check_window(node: Node, axis: int, kernel: list[int | None]) -> None:
    """Refuse a window over the batch axis that sees more than one row; `axis` counts the spatial axes."""
    if axis < 0:
        return
    strides, pads = node.attribute("strides", []), node.attribute("pads", [])
    moves = [*strides[axis : axis + 1], *(1 + pad for pad in pads[axis :: max(len(kernel), 1)])]
    if axis >= len(kernel) or kernel[axis] != 1 or any(move != 1 for move in moves):
        raise MixesError(*_NEIGHBOURS)


def _pool(node: Node) -> list[Value]:
    value = node.input()
    if value.rows is not None:
        _check_window(node, value.rows.axis - 2, _kernel(node, ()))
    dims = _window_dims(value, node, ())
    return [node.out(value.rows, dims), node.out(value.rows, dims, 1)]


def _global_pool(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and value.rows.axis >= 2:
        raise MixesError("pools over the batch axis", "put the batch axis first")
    return node.out(value.rows, None if value.dims is None else (*value.dims[:2], *(ONE for _ in value.dims[2:])))


def _batch_norm(node: Node) -> list[Value]:
    value = node.input()
    if value.rows is not None:
        if _is_training(node):
            raise MixesError("takes its statistics over the batch (training mode)", EVALUATION)
        if value.rows.axis == 1:
            raise MixesError(*ROW_CONSTANT)
    if any(other.rows is not None for other in node.present(1)):
        raise UnclearError("takes statistics that differ from row to row")
    return [node.out(value.rows, value.dims), *(node.out(None, None, index) for index in range(1, 5))]


def _is_training(node: Node) -> bool:
    if node.opset >= 14:
        return bool(node.attribute("training_mode", 0))
    if node.opset < 7:
        return not node.attribute("is_test", 0)
    return sum(bool(name) for name in node.proto.output) > 1


def _per_instance(node: Node) -> list[Value]:
    """Statistics over all axes behind the channels, or behind groups of channels."""
    value = node.input()
    if value.rows is not None and value.rows.axis != 0:
        raise MixesError(*(ROW_CONSTANT if value.rows.axis == 1 else _STATISTICS))
    if any(other.rows is not None for other in node.present(1)):
        raise UnclearError("takes parameters that differ from row to row")
    return [node.out(value.rows, value.dims)]


def _lrn(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and value.rows.axis == 1:
        raise MixesError(*_NEIGHBOURS)
    return node.out(value.rows, value.dims)


def _resize(node: Node) -> Value:
    value = node.input()
    if value.rows is None:
        return node.out(None)
    axes = node.attribute("axes")
    place = value.rows.axis
    if axes is not None:
        rank = len(value.dims or ())
        given = [axis % rank if rank else axis for axis in axes]
        if place not in given:
            return node.out(value.rows)
        place = given.index(place)
    if not _keeps(node, value, place):
        raise MixesError("interpolates along the batch axis", "resize the inner axes only")
    sizes = node.entries(3) if axes is None else None
    return node.out(value.rows, sizes or (None if value.dims is None else (None,) * len(value.dims)))


def _keeps(node: Node, value: Value, place: int) -> bool:
    """Say whether the batch axis keeps its size."""
    scales = node.attribute("scales")
    if scales is not None:
        return place < len(scales) and scales[place] == 1
    for index, wanted in ((1 if node.op_type == "Upsample" or node.opset < 11 else 2, ONE), (3, rows_of(value).size)):
        entries = node.entries(index)
        if entries and place < len(entries) and entries[place] is not None:
            return entries[place] == wanted or entries[place] == _as_fixed(node, wanted)
    raise UnclearError("resizes by a factor that could not be followed")


def _as_fixed(node: Node, wanted: Size | None) -> Size | None:
    if node.fixed_rows is None or wanted is None or not wanted.counts_rows:
        return wanted
    return Size(wanted.factor * node.fixed_rows, tuple(name for name in wanted.names if name != ROWS))


RULES: dict[tuple[str, str], Rule] = {
    ("", "Conv"): _conv(0, (1, 2)),
    ("", "ConvTranspose"): _conv(0, (1, 2)),
    ("", "ConvInteger"): _conv(0, (1, 2, 3)),
    ("", "QLinearConv"): _conv(0, (3, 1, 2, 4, 5, 6, 7, 8)),
    ("com.microsoft", "FusedConv"): _conv(0, (1, 2)),
    **{("", name): _pool for name in ("AveragePool", "MaxPool", "LpPool")},
    **{("", f"Global{name}Pool"): _global_pool for name in ("Average", "Max", "Lp")},
    ("", "BatchNormalization"): _batch_norm,
    ("", "InstanceNormalization"): _per_instance,
    ("", "GroupNormalization"): _per_instance,
    ("", "LRN"): _lrn,
    ("", "Resize"): _resize,
    ("", "Upsample"): _resize,
}
