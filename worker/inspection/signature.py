"""The signature: the inputs of a model and their axes, as the file declares them. Runs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ferry.errors import ModelRefusedError
from ferry.tensors import Array
from worker.inspection.element_types import dtype_of

# The limit that the manifest sets to a name's length.
_MAX_NAME_CHARS = 256

# The size of an axis, or the symbol of a free one; free axes with one symbol have one size.
Axis = int | str


@dataclass(frozen=True, slots=True)
class Input:
    """One input. `axes` is None where the file does not declare their number."""

    name: str
    dtype: str
    axes: tuple[Axis, ...] | None

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype of its arrays; text is numpy's object dtype."""
        return np.dtype(object if self.dtype == "string" else self.dtype)

    @property
    def free_axes(self) -> tuple[int, ...]:
        """Where its free axes are."""
        return tuple(index for index, axis in enumerate(self.axes or ()) if isinstance(axis, str))

    def why_not(self, array: Array) -> str:
        """Say why an array is no value of this input; empty where it is one."""
        if self.axes is None:
            return ""
        wanted = f"expected ({', '.join(str(axis) for axis in self.axes)})"
        if array.ndim != len(self.axes):
            return f"has {array.ndim} axes, {wanted}"
        pairs = zip(array.shape, self.axes, strict=True)
        return (
            "" if all(isinstance(axis, str) or size == axis for size, axis in pairs) else f"is {array.shape}, {wanted}"
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """What the file declares of its inputs, in its order."""

    inputs: tuple[Input, ...]

    @property
    def has_free_axes(self) -> bool:
        """Whether some axis takes any size."""
        return any(each.axes is None or each.free_axes for each in self.inputs)


def read(graph: onnx.GraphProto) -> Signature:
    """Return the graph's signature.

    Raises:
        ModelRefusedError: when names or types are none that Ferry serves.
    """
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    _refuse_names([value.name for value in inputs], "input")
    _refuse_names([output.name for output in graph.output], "output")
    return Signature(tuple(Input(value.name, dtype_of(value), _axes(value)) for value in inputs))


def _refuse_names(names: Sequence[str], kind: str) -> None:
    if not names:
        raise ModelRefusedError(f"the model has no {kind}s; re-export with at least one")
    for name in names:
        if not name:
            raise ModelRefusedError(f"an {kind} has no name; re-export with {kind}_names=[...]")
        if len(name) > _MAX_NAME_CHARS or not (isinstance(name, str) and name.isprintable()):
            raise ModelRefusedError(
                f"{kind} name {name[:40]!r} is longer than {_MAX_NAME_CHARS} characters, or not printable; "
                f"re-export with {kind}_names=[...]"
            )
        if names.count(name) > 1:
            raise ModelRefusedError(f"two {kind}s are named {name!r}; re-export with distinct {kind}_names=[...]")


def _axes(value: onnx.ValueInfoProto) -> tuple[Axis, ...] | None:
    """Return each axis' size, or its symbol; axes without a symbol get one of their own."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(
        # Some exporters write -1 for "any size".
        dim.dim_value
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0
        else str(dim.dim_param) or f"{value.name}.{index}"
        for index, dim in enumerate(value.type.tensor_type.shape.dim)
    )
