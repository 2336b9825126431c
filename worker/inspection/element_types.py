"""Element types: onnx's in the manifest's words, and the refusal of those that are not served."""

import onnx

from ferry.errors import ModelRefusedError
from ferry.manifest import OIP_DATATYPES

# onnx's element types, in the manifest's words (numpy's names).
DTYPE_OF_ONNX = {
    getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())): dtype
    for dtype in OIP_DATATYPES
}


def dtype_of(value: onnx.ValueInfoProto) -> str:
    """Return the dtype of one of the graph's inputs.

    Raises:
        ModelRefusedError: when it is not served.
    """
    kind = value.type.WhichOneof("value")
    element = value.type.tensor_type.elem_type
    if kind == "tensor_type" and element in DTYPE_OF_ONNX:
        return DTYPE_OF_ONNX[element]
    got = (
        kind.removesuffix("_type")
        if kind and kind != "tensor_type"
        else onnx.TensorProto.DataType.Name(element).lower()
    )
    raise unsupported("input", value.name, got)


def unsupported(kind: str, name: str, got: str) -> ModelRefusedError:
    """Return the refusal of an input or output (`kind`) whose type is not served."""
    remedy = "cast it inside the model and re-export"
    if got.startswith("seq(tensor"):
        remedy = "join its tensors to one inside the model (Concat), or give each as an output, and re-export"
    elif got.startswith(("seq", "map", "optional", "sparse")):
        remedy = "re-export with plain tensors"
    return ModelRefusedError(f"{kind} {name!r} is of type {got}; served are {', '.join(OIP_DATATYPES)}: {remedy}")
