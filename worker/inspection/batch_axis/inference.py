"""Shapes by onnx's own inference, on a copy without large weights. Fails quietly: shapes are then unknown."""

import math
from collections.abc import Iterator, Mapping

import onnx
from onnx.inliner import inline_local_functions

from worker.inspection.batch_axis.node import Inferred
from worker.inspection.batch_axis.sizes import ROW_COUNT, MaybeSize, Size
from worker.inspection.batch_axis.values import Dims

# Elements of a stored tensor that inference may need as values: shapes, axes, pads.
_MAX_KEPT = 256
# A message over 2 GiB cannot be serialised; constants inside nodes are the only large part of the copy.
_MAX_BYTES = 2**30
# Longer lists of whole numbers are no shapes. Inference would make one axis of each entry.
_MAX_AXES = 1024
_ROWS_SYMBOL = "ferry_rows"
_FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.COMPLEX64,
        onnx.TensorProto.COMPLEX128,
    }
)


def without_weights(model: onnx.ModelProto, batch_axes: Mapping[str, int]) -> onnx.ModelProto:
    """Return a copy whose large initializers are inputs, with the batch axis of each input named, functions inlined.

    Shapes that the file states for inner tensors and outputs are left out: they may be wrong.
    """
    copy = onnx.ModelProto(ir_version=model.ir_version)
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    graph = copy.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    for value in graph.input:
        _name_rows(value, batch_axes.get(value.name))
        _bound_list(value)
    graph.output.extend(model.graph.output)
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    _add_initializers(model.graph, graph)
    return inline_local_functions(copy) if copy.functions else copy


def _name_rows(value: onnx.ValueInfoProto, axis: int | None) -> None:
    """Give the batch axis a name that no other axis has, unless its size is fixed."""
    dims = value.type.tensor_type.shape.dim
    if axis is not None and 0 <= axis < len(dims) and dims[axis].dim_value <= 0:
        dims[axis].dim_param = _ROWS_SYMBOL


def _bound_list(value: onnx.ValueInfoProto) -> None:
    """Leave out the length of a list that could be taken for a shape with millions of axes."""
    tensor = value.type.tensor_type
    if len(tensor.shape.dim) == 1 and tensor.elem_type not in _FLOATS and tensor.shape.dim[0].dim_value > _MAX_AXES:
        tensor.shape.dim[0].Clear()


def _add_initializers(source: onnx.GraphProto, target: onnx.GraphProto) -> None:
    declared = {value.name for value in target.input}
    for tensor in source.initializer:
        count = math.prod(tensor.dims)
        is_external = tensor.data_location == onnx.TensorProto.EXTERNAL
        if count <= _MAX_KEPT and min(tensor.dims, default=0) >= 0 and not is_external:
            target.initializer.append(tensor)
        elif tensor.name not in declared:
            target.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
            _bound_list(target.input[-1])


def infer(bare: onnx.ModelProto) -> dict[str, Inferred]:
    """Return what is known of each tensor of the main graph, by name."""
    if bare.ByteSize() > _MAX_BYTES or not all(_is_filled(tensor) for tensor in _constants(bare.graph)):
        return {}
    try:
        _check(bare)
        inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=False, data_prop=True)
    except (MemoryError, RuntimeError, ValueError, TypeError, onnx.checker.ValidationError):
        return {}
    graph = inferred.graph
    return {value.name: read(value) for values in (graph.value_info, graph.input, graph.output) for value in values}


def _check(bare: onnx.ModelProto) -> None:
    """Refuse a graph that breaks the standard: inference has ended the process on such.

    Raises:
        onnx.checker.ValidationError: when it does.
    """
    tensors = [output.type.tensor_type for output in bare.graph.output if output.type.HasField("tensor_type")]
    for tensor in tensors:
        tensor.shape.SetInParent()
    try:
        onnx.checker.check_model(bare)
    finally:
        for tensor in tensors:
            tensor.ClearField("shape")


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _is_filled(tensor: onnx.TensorProto) -> bool:
    """Say whether the file can hold as many entries as the shape states: up to 8 in a byte."""
    return min(tensor.dims, default=0) >= 0 and math.prod(tensor.dims) <= 8 * tensor.ByteSize()


def read(value: onnx.ValueInfoProto) -> Inferred:
    """Read the shape and the kind of one tensor."""
    tensor = value.type.tensor_type
    is_float = None if not tensor.elem_type else tensor.elem_type in _FLOATS
    return Inferred(_dims(tensor) if tensor.HasField("shape") else None, is_float)


def _dims(tensor: onnx.TypeProto.Tensor) -> Dims:
    return tuple(_size(dim) for dim in tensor.shape.dim)


def _size(dim: onnx.TensorShapeProto.Dimension) -> MaybeSize:
    if dim.HasField("dim_value"):
        # Some exporters write 0 or -1 for a free size.
        return Size(dim.dim_value) if dim.dim_value > 0 else None
    if dim.dim_param == _ROWS_SYMBOL:
        return ROW_COUNT
    return Size(1, (dim.dim_param,)) if dim.dim_param and _ROWS_SYMBOL not in dim.dim_param else None
