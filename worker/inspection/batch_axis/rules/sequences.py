"""Recurrent layers, and other operators with a time axis."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, axis_of, rank_of
from worker.inspection.batch_axis.rules.base import BATCH_FIRST, FIXED_SIZE, Rule
from worker.inspection.batch_axis.sizes import Size
from worker.inspection.batch_axis.values import Dims, Rows, Value

_TIME = ("runs over the batch axis as if it were time", BATCH_FIRST)


def _recurrent(states: tuple[int, ...], weights: tuple[int, ...]) -> Rule:
    """Return the rule of a recurrent layer whose initial states are the inputs `states`."""

    def rule(node: Node) -> list[Value]:
        batch_first = bool(node.attribute("layout", 0))
        batch, state_batch = (0, 0) if batch_first else (1, 1)
        found: list[Rows] = []
        found += _rows_at(node, 0, batch, 1 - batch)
        found += _rows_at(node, 4, 0, -1)
        for index in states:
            found += _rows_at(node, index, state_batch, -1)
            state = node.find(index)
            if state is not None and state.rows is None and node.input().rows is not None:
                raise UnclearError(*FIXED_SIZE)
        if any((value := node.find(index)) is not None and value.rows is not None for index in weights):
            raise UnclearError("takes weights that differ from row to row")
        shapes = _output_dims(node, batch_first=batch_first)
        if not found:
            return [node.out(None, dims, index) for index, dims in enumerate(shapes)]
        if any((rows.outer, rows.inner) != (found[0].outer, found[0].inner) for rows in found):
            raise UnclearError("combines states and inputs whose rows lie in different order")
        places = (0, 0, 0) if batch_first else (2, 1, 1)
        return [node.out(found[0].at(places[index]), dims, index) for index, dims in enumerate(shapes)]

    return rule


def _output_dims(node: Node, *, batch_first: bool) -> tuple[Dims, Dims, Dims]:
    """Return the shapes of all outputs, of the last one, and of the last cell."""
    x = node.input().dims or (None, None, None)
    directions = Size(2 if node.attribute("direction", b"forward") == b"bidirectional" else 1)
    hidden = Size(int(node.attribute("hidden_size", 1)))
    if batch_first:
        return (x[0], x[1], directions, hidden), (x[0], directions, hidden), (x[0], directions, hidden)
    return (x[0], directions, x[1], hidden), (directions, x[1], hidden), (directions, x[1], hidden)


def _rows_at(node: Node, index: int, batch: int, time: int) -> list[Rows]:
    value = node.find(index)
    if value is None or value.rows is None:
        return []
    if value.rows.axis == batch:
        return [value.rows]
    if value.rows.axis == time:
        raise MixesError(*_TIME)
    raise MixesError("takes the batch axis for features", BATCH_FIRST)


def _reverse_sequence(node: Node) -> Value:
    value = node.input()
    batch, time = int(node.attribute("batch_axis", 1)), int(node.attribute("time_axis", 0))
    lengths = node.input(1)
    if value.rows is None and lengths.rows is None:
        return node.out(None, value.dims)
    if value.rows is None or value.rows.axis == time:
        raise MixesError(*_TIME)
    if value.rows.axis == batch:
        if lengths.rows is None:
            raise UnclearError("takes stored lengths for its rows")
        return node.out(value.rows, value.dims)
    if lengths.rows is not None:
        raise MixesError("uses the length of one row for another", BATCH_FIRST)
    return node.out(value.rows, value.dims)


def _transform(node: Node) -> Value:
    """DFT: along one axis; the default of opset 17 is axis 1, later the last but one."""
    value = node.input()
    if node.find(2) is not None:
        axes = node.integers("axis", 2) or [1]
    else:
        axes = [int(node.attribute("axis", 1 if node.opset < 20 else -2))]
    if value.rows is not None and value.rows.axis in {axis_of(value, axes[0]), rank_of(value) - 1}:
        raise MixesError("transforms along the batch axis", BATCH_FIRST)
    return node.out(value.rows)


def first_axis(*places: int, data: tuple[int, ...] = (0,), what: str = "works along the batch axis") -> Rule:
    """Return the rule of an operator with the batch on axis 0 of its inputs.

    `places` are the batch axes of the outputs, axis 0 for further ones. All inputs in `data` may have rows; an input
    without rows is shared by all rows, which the operator must allow.
    """

    def rule(node: Node) -> list[Value]:
        found = None
        for index, value in enumerate(node.inputs):
            if value is None or value.rows is None:
                continue
            if index not in data and data != ():
                raise UnclearError("takes parameters that differ from row to row")
            if value.rows.axis != 0:
                raise MixesError(what, BATCH_FIRST)
            if found is not None and (found.outer, found.inner) != (value.rows.outer, value.rows.inner):
                raise UnclearError("combines tensors whose rows lie in different order")
            found = value.rows
        count = len(node.proto.output)
        axes = (*places, *(0 for _ in range(count)))[:count]
        return [node.out(None if found is None else found.at(axis), None, index) for index, axis in enumerate(axes)]

    return rule


RULES: dict[tuple[str, str], Rule] = {
    ("", "LSTM"): _recurrent((5, 6), (1, 2, 3, 7)),
    ("", "GRU"): _recurrent((5,), (1, 2, 3)),
    ("", "RNN"): _recurrent((5,), (1, 2, 3)),
    ("", "ReverseSequence"): _reverse_sequence,
    ("", "DFT"): _transform,
    ("", "STFT"): first_axis(what="transforms along the batch axis"),
    ("", "GridSample"): first_axis(data=(0, 1)),
    ("", "AffineGrid"): first_axis(data=(0,)),
    ("", "DeformConv"): first_axis(data=(0, 2, 4)),
    ("", "Col2Im"): first_axis(data=(0,)),
    ("", "MaxUnpool"): first_axis(data=(0, 1)),
}
