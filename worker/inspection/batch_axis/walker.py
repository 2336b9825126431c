"""Follows the batch axis through a graph, node by node. Knows the rules by their table only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import onnx

from worker.inspection.batch_axis.control_flow import Branches, run_control_flow
from worker.inspection.batch_axis.entries import stored_entries
from worker.inspection.batch_axis.findings import Finding, MixesError, UnclearError, Verdict
from worker.inspection.batch_axis.node import Inferred, Node
from worker.inspection.batch_axis.rules import KEEPS_ENTRIES, RULES, SAME_CONTENT, SHAPE_INPUTS
from worker.inspection.batch_axis.rules.gated import CONTROL_FLOW, GATED
from worker.inspection.batch_axis.shape_arithmetic import computed_entries
from worker.inspection.batch_axis.sizes import ROWS, Size, over
from worker.inspection.batch_axis.values import UNKNOWN_VALUE, Counts, Dims, Rows, Value

# What a broken graph raises inside a rule: sizes and attributes of the wrong kind.
BROKEN = (AssertionError, AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError)
_NO_RULE = "is an operator that the walk does not know"
_ARITHMETIC = ("uses the number of rows in the arithmetic", "use constants in place of the batch size")
_INNER_SIZE = ("gives each row a result whose size is the number of rows", "use constants in place of the batch size")
_FILLED = ("works on texts filled up to the longest of the batch", "count the words with TfIdfVectorizer")
_LOST = "gives a result without a batch axis from inputs that have one"


class Walker:
    """The state of one walk: the values so far, and the nodes that could not be followed."""

    def __init__(self, opsets: Mapping[str, int], inferred: Mapping[str, Inferred], *, fixed_rows: int | None) -> None:
        self.opsets = opsets
        self.inferred = inferred
        self.fixed_rows = fixed_rows
        # The first that mixes ends the walk; of those that are unclear, one that overrules the trial stands first.
        self.unclear: list[Finding] = []

    def run(self, graph: onnx.GraphProto, known: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values of a graph's tensors; `known` are its inputs and what the outer graph holds.

        Raises:
            DecidedError: when a node mixes rows.
        """
        values = dict(known)
        for tensor in graph.initializer:
            values.setdefault(tensor.name, stored(tensor))
        for sparse in graph.sparse_initializer:
            values.setdefault(sparse.values.name, Value(dims=tuple(Size(size) for size in sparse.dims)))
        for proto in _needed(graph):
            outputs = self._visit(proto, values)
            values.update(zip(proto.output, outputs, strict=False))
        return values

    def _visit(self, proto: onnx.NodeProto, values: Mapping[str, Value]) -> Sequence[Value]:
        count = len(proto.output)
        try:
            inputs = [values.get(name, UNKNOWN_VALUE) if name else None for name in proto.input]
            outputs = self._apply(proto, inputs, values)
            return [*outputs, *(UNKNOWN_VALUE for _ in range(count - len(outputs)))]
        except MixesError as error:
            raise DecidedError(finding(Verdict.MIXES, proto, error.what, error.remedy)) from error
        except UnclearError as error:
            found = finding(Verdict.UNKNOWN, proto, error.what, error.remedy, overrules=error.overrules)
            self.unclear.append(found)
        except BROKEN:
            self.unclear.append(finding(Verdict.UNKNOWN, proto, "could not be followed", "rely on the trial"))
        return [UNKNOWN_VALUE] * count

    def _apply(self, proto: onnx.NodeProto, inputs: list[Value | None], values: Mapping[str, Value]) -> Sequence[Value]:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        key = (domain, proto.op_type)
        if domain == "" and proto.op_type in CONTROL_FLOW:
            return run_control_flow(proto, inputs, Branches(self.run, values, lambda what: self._doubt(proto, what)))
        shape_inputs = SHAPE_INPUTS.get(key, ())
        if any(value is not None and value.data for index, value in enumerate(inputs) if index in shape_inputs):
            raise UnclearError("takes a size from the values of rows", "use fixed sizes", overrules=True)
        content = [value for index, value in enumerate(inputs) if value is not None and index not in shape_inputs]
        node = self._node(proto, inputs, domain)
        if key in {("", "Shape"), ("", "Size")}:
            return [_shape_of(node)]
        if any(value is not None and value.unknown for value in inputs) and key not in GATED:
            return [UNKNOWN_VALUE] * len(proto.output)
        padding = _padding(key, content)
        outputs = _follow(node, key, content)
        if padding is not None:
            outputs = [replace(value, padding=padding) for value in outputs]
        if key not in SAME_CONTENT and not any(value.data for value in content):
            content = node.present()
        return [_complete(value, content) for value in _with_entries(node, outputs, content)]

    def _doubt(self, proto: onnx.NodeProto, what: str) -> None:
        self.unclear.append(finding(Verdict.UNKNOWN, proto, what, "rely on the trial"))

    def _node(self, proto: onnx.NodeProto, inputs: Sequence[Value | None], domain: str) -> Node:
        inferred = [self.inferred.get(name, Inferred()) for name in proto.output]
        opset = self.opsets.get(domain, 1)
        return Node(proto, inputs, inferred=inferred, opset=opset, fixed_rows=self.fixed_rows)


class DecidedError(Exception):
    """A node mixes rows: nothing after it can change that."""

    def __init__(self, found: Finding) -> None:
        super().__init__(found.reason)
        self.found = found


def finding(verdict: Verdict, proto: onnx.NodeProto, what: str, remedy: str, *, overrules: bool = False) -> Finding:
    """Return a finding whose reason names the node."""
    name = proto.name or f"{proto.op_type} -> {next(iter(proto.output), '')}"
    reason = f"node {name!r} ({proto.op_type}) {what}"
    return Finding(verdict, name, proto.op_type, reason, remedy, overrules)


def stored(tensor: onnx.TensorProto) -> Value:
    """Return the value of an initializer."""
    return Value(dims=tuple(Size(size) for size in tensor.dims), entries=stored_entries(tensor))


def _padding(key: tuple[str, str], content: Sequence[Value]) -> bytes | None:
    """Return what fills up an inner axis of the outputs; only what ignores it may follow.

    Raises:
        UnclearError: when another operator works on the filled axis.
    """
    padding = next((value.padding for value in content if value.padding is not None), None)
    if padding is None or key == ("", "TfIdfVectorizer"):
        return None
    if key not in KEEPS_ENTRIES:
        raise UnclearError(*_FILLED, overrules=True)
    return padding


def _follow(node: Node, key: tuple[str, str], content: Sequence[Value]) -> Sequence[Value]:
    """Apply the rule; constants and computations with sizes alone cannot mix what rows hold."""
    has_data = any(value.data for value in content)
    if has_data:
        _check_counts(node, content)
    rule = RULES.get(key)
    if rule is None and has_data:
        raise UnclearError(_NO_RULE)
    try:
        outputs = rule(node) if rule is not None else _without_rule(node)
    except (MixesError, UnclearError, *BROKEN):
        if has_data or key in GATED:
            raise
        outputs = _without_rule(node)
    outputs = [outputs] if isinstance(outputs, Value) else outputs
    _check_kept(content, outputs)
    return outputs


def _without_rule(node: Node) -> list[Value]:
    """Return what inference says of a computation with constants and sizes."""
    is_traced = any(value.rows is not None or value.counts for value in node.present())
    counts = Counts.MAYBE if is_traced else Counts.NO
    return [replace(node.out(None, None, index), counts=counts) for index in range(len(node.proto.output))]


def _check_counts(node: Node, content: Sequence[Value]) -> None:
    counts = max((value.counts for value in content), default=Counts.NO)
    if counts is Counts.NO or node.op_type in {"Gather", "GatherND", "GatherElements", "ScatterND", "ScatterElements"}:
        return
    if counts is Counts.YES and any(value.data and value.is_float for value in content):
        raise MixesError(*_ARITHMETIC)
    raise UnclearError("combines rows with a number that may depend on how many rows there are")


def _check_kept(content: Sequence[Value], outputs: Sequence[Value]) -> None:
    if not any(value.rows is not None and value.data for value in content) or not outputs:
        return
    value = outputs[0]
    if value.rows is None:
        raise UnclearError(_LOST)
    inner = [size for axis, size in enumerate(value.dims or ()) if axis != value.rows.axis]
    if any(size is not None and size.counts_rows for size in inner):
        raise MixesError(*_INNER_SIZE)


def _with_entries(node: Node, outputs: Sequence[Value], content: Sequence[Value]) -> list[Value]:
    """Add the entries of a shape tensor to the first output."""
    found = list(outputs)
    if not found or any(value.data for value in content):
        return found
    entries = computed_entries(node)
    if entries is not None:
        dims = tuple(Size(size) for size in entries.shape)
        found[0] = replace(found[0], dims=dims, rows=None, entries=tuple(entries.reshape(-1)))
    return found


def _complete(value: Value, content: Sequence[Value]) -> Value:
    """Say what the content depends on."""
    if value.unknown:
        return value
    counts = max((value.counts, *(other.counts for other in content)))
    if value.entries is not None:
        counts = _counts_of(value.entries, counts)
    value = replace(value, data=any(other.data for other in content), counts=counts)
    return value if value.rows is not None or value.dims is None else replace(value, rows=_found_rows(value.dims))


def _counts_of(entries: Dims, otherwise: Counts) -> Counts:
    if any(entry is not None and entry.counts_rows for entry in entries):
        return Counts.YES
    return Counts.NO if all(entry is not None for entry in entries) else otherwise


def _found_rows(dims: Dims) -> Rows | None:
    """Return the axis of a computed tensor whose size counts the rows."""
    axes = [axis for axis, size in enumerate(dims) if size is not None and size.counts_rows]
    if len(axes) != 1:
        return None
    size = dims[axes[0]]
    return Rows(axes[0], inner=over(size, Size(1, (ROWS,))))


def _shape_of(node: Node) -> Value:
    value = node.input()
    found = computed_entries(node)
    counts = Counts.MAYBE if value.unknown or value.rows is not None else Counts.NO
    if value.unknown or found is None:
        return Value(dims=() if node.op_type == "Size" else (None,), counts=counts, is_float=False)
    entries = tuple(found.reshape(-1))
    dims = tuple(Size(size) for size in found.shape)
    return Value(dims=dims, entries=entries, counts=_counts_of(entries, counts), is_float=False)


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that an output depends on, in the order of the file."""
    wanted = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.isdisjoint(node.output):
            continue
        kept.append(node)
        wanted.update(name for name in node.input if name)
        for inner in _subgraphs(node):
            wanted |= outer_names(inner)
    return kept[::-1]


def outer_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names that a subgraph may take from outside."""
    names = {output.name for output in graph.output}
    waiting = list(graph.node)
    while waiting:
        node = waiting.pop()
        names.update(node.input)
        for inner in _subgraphs(node):
            names |= {output.name for output in inner.output}
            waiting += inner.node
    return names


def _subgraphs(node: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs
