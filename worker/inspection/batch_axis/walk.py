"""From a model to a finding: what the inputs are, one walk, and whether every output has a batch axis."""

from collections.abc import Iterator, Mapping

import onnx

from worker.inspection.batch_axis.findings import Finding, Verdict
from worker.inspection.batch_axis.inference import infer, read, without_weights
from worker.inspection.batch_axis.node import Inferred
from worker.inspection.batch_axis.rules.gated import CONTROL_FLOW, GATED
from worker.inspection.batch_axis.sizes import Size
from worker.inspection.batch_axis.values import Counts, Rows, Value
from worker.inspection.batch_axis.walker import BROKEN, DecidedError, Walker, stored

_NO_AXIS = "re-export with outputs of shape (batch, ...)"


def walk(model: onnx.ModelProto, batch_axes: Mapping[str, int]) -> Finding:
    """Say whether rows can influence each other.

    `batch_axes` names the batch axis of each graph input that has rows; all other inputs are shared by all rows.
    Takes time linear in the number of nodes, and never raises: a graph that cannot be followed is `UNKNOWN`.
    """
    try:
        return _walk(model, batch_axes)
    except DecidedError as decided:
        return decided.found
    except (*BROKEN, onnx.shape_inference.InferenceError):
        gated = next((node for node in _nodes(model) if _is_gated(node)), None)
        return Finding(
            Verdict.UNKNOWN,
            reason="the graph could not be followed",
            remedy="check the model with onnx.checker",
            overrules_trial=gated is not None,
        )


def _walk(model: onnx.ModelProto, batch_axes: Mapping[str, int]) -> Finding:
    bare = without_weights(model, batch_axes)
    inferred = infer(bare)
    opsets = {"" if opset.domain == "ai.onnx" else opset.domain: opset.version for opset in bare.opset_import}
    walker = Walker(opsets, inferred, fixed_rows=_fixed_rows(bare.graph, batch_axes))
    values = walker.run(bare.graph, dict(_inputs(bare.graph, batch_axes)))
    if walker.unclear:
        return next((found for found in walker.unclear if found.overrules_trial), walker.unclear[0])
    found = [(output.name, values.get(output.name, Value(unknown=True))) for output in bare.graph.output]
    checks = [check for name, value in found if (check := _check_output(name, value)) is not None]
    if checks:
        return next((check for check in checks if check.verdict is Verdict.MIXES), checks[0])
    return Finding(
        Verdict.INDEPENDENT,
        reason="the batch axis stays apart from input to output",
        output_axes={name: value.rows.axis for name, value in found if value.rows is not None},
    )


def _inputs(graph: onnx.GraphProto, batch_axes: Mapping[str, int]) -> Iterator[tuple[str, Value]]:
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.input:
        axis = batch_axes.get(value.name)
        inferred = read(value)
        if axis is None:
            tensor = initializers.get(value.name)
            yield value.name, _shared(value.name, inferred) if tensor is None else stored(tensor)
            continue
        dims = None if inferred.dims is None else _named(value.name, inferred)
        if dims is not None and not 0 <= axis < len(dims):
            raise ValueError(f"input {value.name!r} has no axis {axis}")
        rows = Rows(axis)
        if dims is not None:
            dims = (*dims[:axis], rows.size, *dims[axis + 1 :])
        yield value.name, Value(dims=dims, rows=rows, data=True, is_float=inferred.is_float)


def _shared(name: str, inferred: Inferred) -> Value:
    dims = None if inferred.dims is None else _named(name, inferred)
    return Value(dims=dims, is_float=inferred.is_float)


def _named(name: str, inferred: Inferred) -> tuple[Size | None, ...]:
    """Give each unknown size a name of its own."""
    return tuple(size or Size(1, (f"{name}:{axis}",)) for axis, size in enumerate(inferred.dims or ()))


def _fixed_rows(graph: onnx.GraphProto, batch_axes: Mapping[str, int]) -> int | None:
    for value in graph.input:
        axis = batch_axes.get(value.name)
        dims = value.type.tensor_type.shape.dim
        if axis is not None and 0 <= axis < len(dims) and dims[axis].dim_value > 0:
            return int(dims[axis].dim_value)
    return None


def _check_output(name: str, value: Value) -> Finding | None:
    """Return what speaks against an output, None where one index of its batch axis is the answer of one row."""
    if value.unknown:
        return _output(Verdict.UNKNOWN, name, "could not be followed")
    if value.rows is None:
        return _output(Verdict.MIXES, name, "has no batch axis: it is one result for all rows")
    if value.padding is not None:
        return _output(Verdict.MIXES, name, "is as long as the longest row of the batch", "return a fixed size")
    if value.counts is not Counts.NO:
        verdict, may = (Verdict.MIXES, "") if value.counts is Counts.YES else (Verdict.UNKNOWN, "perhaps ")
        return _output(verdict, name, f"{may}depends on the number of rows", "use constants in place of the batch size")
    return None if value.rows.is_plain else _check_entries(name, value.rows)


def _check_entries(name: str, rows: Rows) -> Finding:
    is_known = all(size is not None and not size.names for size in (rows.outer, rows.inner))
    verdict = Verdict.MIXES if is_known else Verdict.UNKNOWN
    return _output(verdict, name, f"has no batch axis: its axis {rows.axis} holds several entries for each row")


def _output(verdict: Verdict, name: str, what: str, remedy: str = _NO_AXIS) -> Finding:
    return Finding(verdict, name, "", f"output {name!r} {what}", remedy)


def _is_gated(node: onnx.NodeProto) -> bool:
    domain = "" if node.domain == "ai.onnx" else node.domain
    return (domain, node.op_type) in GATED or node.op_type in CONTROL_FLOW


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting += attribute.g.node
            waiting += [inner for graph in attribute.graphs for inner in graph.node]
