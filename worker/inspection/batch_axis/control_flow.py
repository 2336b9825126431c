"""If, Loop and Scan: their subgraphs are walked with what the outer graph holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.rules.base import BATCH_FIRST
from worker.inspection.batch_axis.sizes import Size
from worker.inspection.batch_axis.values import UNKNOWN_VALUE, Counts, Value, join, numbers

# Rounds until the state of a loop keeps its form; real ones need two.
_MAX_ROUNDS = 4
# Subgraphs inside subgraphs; each level walks its body several times.
_MAX_DEPTH = 4


@dataclass(slots=True)
class Branches:
    """How a subgraph is walked: the walk itself, the values outside, and where a doubt is noted."""

    walk: Callable[[onnx.GraphProto, Mapping[str, Value]], dict[str, Value]]
    outer: Mapping[str, Value]
    doubt: Callable[[str], None]

    def outputs(self, graph: onnx.GraphProto, inputs: Sequence[Value]) -> list[Value]:
        """Return the values of a subgraph's outputs."""
        if _depth(graph) >= _MAX_DEPTH:
            raise UnclearError("holds subgraphs that are nested too deeply", overrules=True)
        given = {value.name: inputs[index] for index, value in enumerate(graph.input) if index < len(inputs)}
        values = self.walk(graph, {**self.outer, **given})
        return [values.get(output.name, UNKNOWN_VALUE) for output in graph.output]


def run_control_flow(proto: onnx.NodeProto, inputs: Sequence[Value | None], branches: Branches) -> list[Value]:
    """Return the outputs of an If, a Loop or a Scan.

    Raises:
        UnclearError: when values decide what runs, or the subgraph could not be followed.
        MixesError: when rows influence each other.
    """
    run = {"If": _if, "Loop": _loop, "Scan": _scan}[proto.op_type]
    return run(proto, inputs, branches)


def _depth(graph: onnx.GraphProto) -> int:
    level, depth = [graph], 0
    while level and depth <= _MAX_DEPTH:
        level = [inner.g for found in level for node in found.node for inner in node.attribute if inner.HasField("g")]
        depth += bool(level)
    return depth


def _graph(proto: onnx.NodeProto, name: str) -> onnx.GraphProto:
    for attribute in proto.attribute:
        if attribute.name == name:
            graph: onnx.GraphProto = attribute.g
            return graph
    raise UnclearError(f"lacks its {name}", "check the model with onnx.checker")


def _if(proto: onnx.NodeProto, inputs: Sequence[Value | None], branches: Branches) -> list[Value]:
    condition = inputs[0] if inputs else None
    if condition is None or _depends(condition):
        raise UnclearError(
            "chooses by values of the whole batch what runs", "choose per row with Where", overrules=True
        )
    chosen = numbers(condition.entries)
    names = ("then_branch", "else_branch")
    if chosen:
        return branches.outputs(_graph(proto, names[0 if chosen[0] else 1]), ())
    found = [branches.outputs(_graph(proto, name), ()) for name in names]
    return [_join_branches(one, other, branches) for one, other in zip(*found, strict=True)]


def _join_branches(one: Value, other: Value, branches: Branches) -> Value:
    """Join. torch writes squeeze(dim) as `If size == 1`: follow the squeezed tensor, leave the rest to the trial."""
    if one.unknown or other.unknown or one.rank is None or other.rank is None or one.rank == other.rank:
        return join(one, other)
    branches.doubt("gives tensors of different rank, by a size that is not known")
    return min(one, other, key=lambda value: value.rank or 0)


def _depends(value: Value) -> bool:
    return value.unknown or value.data or value.counts is not Counts.NO


def _loop(proto: onnx.NodeProto, inputs: Sequence[Value | None], branches: Branches) -> list[Value]:
    trips, condition = (*inputs, None, None)[:2]
    if any(value is not None and _depends(value) for value in (trips, condition)):
        raise UnclearError("runs as often as values of the whole batch decide", "unroll the loop", overrules=True)
    body = _graph(proto, "body")
    start = [value or UNKNOWN_VALUE for value in inputs[2:]]
    count = len(start)

    def step(state: list[Value]) -> list[Value]:
        outputs = branches.outputs(body, [Value(dims=(), is_float=False), Value(dims=()), *state])
        if not outputs or _depends(outputs[0]):
            raise UnclearError(
                "ends when values of the whole batch decide", "run a fixed number of steps", overrules=True
            )
        return outputs[1:]

    outputs = _settle(step, start)
    return [*outputs[:count], *(_stacked(value, 0) for value in outputs[count:])]


def _settle(step: Callable[[list[Value]], list[Value]], start: list[Value]) -> list[Value]:
    """Repeat the body until its state keeps its form."""
    state = start
    for _ in range(_MAX_ROUNDS):
        outputs = step(state)
        after = [_merge(old, new) for old, new in zip(state, outputs, strict=False)]
        if after == state:
            return [*after, *outputs[len(state) :]]
        state = after
    raise UnclearError("changes the form of its state from step to step", overrules=True)


def _merge(old: Value, new: Value) -> Value:
    """Return what holds before and after a step; only a state without rows may gain them."""
    joined = join(old, new)
    return replace(joined, entries=None) if joined.entries is not None and old.entries != new.entries else joined


def _stacked(value: Value, axis: int) -> Value:
    """Return the outputs of all steps on a new axis."""
    if value.unknown:
        return value
    rows = value.rows
    if rows is not None:
        rows = rows.at(rows.axis + (axis <= rows.axis))
    dims = None if value.dims is None else (*value.dims[:axis], None, *value.dims[axis:])
    return replace(value, rows=rows, dims=dims, entries=None)


def _scan(proto: onnx.NodeProto, inputs: Sequence[Value | None], branches: Branches) -> list[Value]:
    attributes = {attribute.name: attribute for attribute in proto.attribute}
    body = _graph(proto, "body")
    n_scanned = attributes["num_scan_inputs"].i
    if not 0 < n_scanned <= len(inputs):
        raise UnclearError("scans more inputs than it has", "check the model with onnx.checker", overrules=True)
    n_states = len(inputs) - n_scanned
    values = [value or UNKNOWN_VALUE for value in inputs]
    axes = list(attributes["scan_input_axes"].ints) if "scan_input_axes" in attributes else [0] * n_scanned
    places = list(attributes["scan_output_axes"].ints) if "scan_output_axes" in attributes else []
    if any(value.unknown for value in values) or any(axis < 0 for axis in (*axes, *places)):
        raise UnclearError("scans inputs that could not be followed", overrules=True)
    scanned = [_one_step(value, axis) for value, axis in zip(values[n_states:], axes, strict=True)]
    over_rows = [
        value.rows is not None and value.rows.axis == axis for value, axis in zip(values[n_states:], axes, strict=True)
    ]
    if any(over_rows):
        return _scan_rows(body, values, (n_states, over_rows), (scanned, places), branches)

    def step(state: list[Value]) -> list[Value]:
        return branches.outputs(body, [*state, *scanned])

    outputs = _settle(step, values[:n_states])
    places += [0] * (len(outputs) - n_states - len(places))
    return [
        *outputs[:n_states],
        *(_stacked(value, axis) for value, axis in zip(outputs[n_states:], places, strict=True)),
    ]


def _one_step(value: Value, axis: int) -> Value:
    dims = None if value.dims is None else value.dims[:axis] + value.dims[axis + 1 :]
    rows = value.rows
    if rows is not None:
        rows = None if rows.axis == axis else rows.at(rows.axis - (axis < rows.axis))
    return replace(value, dims=dims, rows=rows, entries=None)


def _scan_rows(
    body: onnx.GraphProto,
    values: Sequence[Value],
    split: tuple[int, list[bool]],
    steps: tuple[list[Value], list[int]],
    branches: Branches,
) -> list[Value]:
    """Scan over the batch axis: one step is one row, so its state must not carry anything on."""
    n_states, over_rows = split
    scanned, places = steps
    whole = [value.rows is not None for value in values[:n_states]]
    if not all(over_rows) or any(whole):
        raise UnclearError("scans the batch axis beside a tensor of all rows", overrules=True)
    outputs = branches.outputs(body, [*values[:n_states], *scanned])
    if not all(_passes_on(body, index) for index in range(n_states)):
        raise MixesError("runs over the batch axis as if it were time", BATCH_FIRST)
    rows = next(value.rows for value in values[n_states:] if value.rows is not None)
    places += [0] * (len(outputs) - n_states - len(places))
    found = [replace(value, entries=None) for value in outputs[:n_states]]
    for value, axis in zip(outputs[n_states:], places, strict=True):
        if value.unknown or value.rows is not None:
            raise UnclearError("scans the batch axis beside a tensor of all rows", overrules=True)
        dims = None if value.dims is None else (*value.dims[:axis], rows.size or Size(1), *value.dims[axis:])
        found.append(replace(value, rows=rows.at(axis), dims=dims, data=True, entries=None))
    return found


def _passes_on(body: onnx.GraphProto, index: int) -> bool:
    """Say whether a step hands a state on as it was."""
    name = body.output[index].name
    copies = {node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity"}
    for _ in range(len(copies)):
        name = copies.get(name, name)
    return bool(name == body.input[index].name)
