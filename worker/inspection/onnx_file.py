"""The ONNX file as a protobuf message: parsed, walked, refused where an operator is missing. Runs nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ferry.errors import ModelRefusedError

# Whose operators onnxruntime has.
_KNOWN_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"}
    | {"com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten"}
)
# The size of their outputs depends on values, so equal sizes in a few runs prove nothing.
_VALUE_SIZED_OPS = frozenset(
    {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Range", "Scan", "StringSplit", "Unique"}
)


def read(path: Path) -> onnx.ModelProto:
    """Parse a file.

    Raises:
        ModelRefusedError: when it is no ONNX model.
    """
    try:
        # The format is said, or onnx would go by the file's suffix and take JSON or text too.
        proto = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelRefusedError(
            "the file is damaged or is no ONNX model: it does not parse as one; export or download it again"
        ) from error
    if proto.ir_version < 1 or not (proto.graph.node or proto.graph.output):
        raise ModelRefusedError("the file is no ONNX model: it holds no graph; export the model to ONNX first")
    return proto


def refuse_foreign_operators(proto: onnx.ModelProto) -> None:
    """Look for operators of other libraries.

    Raises:
        ModelRefusedError: when there is any.
    """
    local = {(function.domain, function.name) for function in proto.functions}
    for node in _nodes(proto):
        if node.domain not in _KNOWN_DOMAINS and (node.domain, node.op_type) not in local:
            raise ModelRefusedError(
                f"operator {node.domain}:{node.op_type} is a custom one that onnxruntime does not have; "
                "re-export with standard ONNX operators"
            )


def is_value_sized(proto: onnx.ModelProto) -> bool:
    """Say whether values, and not shapes alone, may decide on an output's size."""
    return any(node.op_type in _VALUE_SIZED_OPS for node in _nodes(proto))


def versions(proto: onnx.ModelProto) -> dict[str, str]:
    """Return what the file was written for, and the onnxruntime that looks at it."""
    opsets = {f"opset {opset.domain or 'ai.onnx'}": str(opset.version) for opset in proto.opset_import}
    return {"onnxruntime": onnxruntime.__version__, "onnx_ir": str(proto.ir_version), **dict(sorted(opsets.items()))}


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node: the graph's, the subgraphs' and the local functions'."""
    waiting = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for graph in _subgraphs(node) for inner in graph.node]


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of the model: initializers and attributes, dense and sparse, also of subgraphs."""
    nodes = list(_nodes(proto))
    for graph in (proto.graph, *(graph for node in nodes for graph in _subgraphs(node))):
        yield from graph.initializer
        yield from _dense_parts(graph.sparse_initializer)
    defaults = (attribute for function in proto.functions for attribute in function.attribute_proto)
    for attribute in (*defaults, *(attribute for node in nodes for attribute in node.attribute)):
        yield from (attribute.t, *attribute.tensors)
        yield from _dense_parts((attribute.sparse_tensor, *attribute.sparse_tensors))


def _dense_parts(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)
