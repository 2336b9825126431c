"""One node as the rules see it: attributes, what is known of its inputs, and the shapes inferred for its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from worker.inspection.batch_axis.findings import UnclearError
from worker.inspection.batch_axis.sizes import Size
from worker.inspection.batch_axis.values import Dims, Rows, Value, numbers


@dataclass(frozen=True, slots=True)
class Inferred:
    """What shape inference says of a tensor."""

    dims: Dims | None = None
    is_float: bool | None = None


class Node:
    """A node of the graph; missing optional inputs are None."""

    def __init__(
        self,
        proto: onnx.NodeProto,
        inputs: Sequence[Value | None],
        *,
        inferred: Sequence[Inferred],
        opset: int,
        fixed_rows: int | None,
    ) -> None:
        self.proto = proto
        self.op_type: str = proto.op_type
        self.inputs = tuple(inputs)
        self.inferred = tuple(inferred)
        self.opset = opset
        self.fixed_rows = fixed_rows
        self.attributes = {attribute.name: attribute for attribute in proto.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value."""
        found = self.attributes.get(name)
        return default if found is None else onnx.helper.get_attribute_value(found)

    def find(self, index: int) -> Value | None:
        """Return an input, None where it is missing."""
        return self.inputs[index] if index < len(self.inputs) else None

    def input(self, index: int = 0) -> Value:
        """Return an input.

        Raises:
            UnclearError: when the node lacks it.
        """
        value = self.find(index)
        if value is None:
            raise UnclearError(f"lacks its input {index}", "check the model with onnx.checker")
        return value

    def present(self, first: int = 0) -> list[Value]:
        """Return the inputs that are there, from index `first` on."""
        return [value for value in self.inputs[first:] if value is not None]

    def entries(self, index: int) -> Dims | None:
        """Return the entries of a shape input, None where they are unknown."""
        value = self.find(index)
        return None if value is None else value.entries

    def integers(self, name: str, index: int) -> list[int] | None:
        """Return integers given as an attribute or, in later opsets, as an input; None where the node has neither.

        Raises:
            UnclearError: when the input is there and its values are unknown.
        """
        given = self.attribute(name)
        if given is not None:
            return [int(given)] if isinstance(given, int) else [int(number) for number in given]
        value = self.find(index)
        if value is None:
            return None
        found = numbers(value.entries)
        if found is None:
            raise UnclearError(f"takes its {name} from a computation that could not be followed")
        return found

    def out(self, rows: Rows | None, dims: Dims | None = None, index: int = 0) -> Value:
        """Return an output: the rule's shape and the inferred one together."""
        inferred = self.inferred[index] if index < len(self.inferred) else Inferred()
        return Value(dims=self._merge(dims, inferred.dims, rows, index), rows=rows, is_float=inferred.is_float)

    def named(self, what: str) -> Size:
        """Return a size with a name of its own."""
        return Size(1, (f"{self.proto.output[0] if self.proto.output else ''}:{what}",))

    def _merge(self, ruled: Dims | None, inferred: Dims | None, rows: Rows | None, index: int) -> Dims | None:
        dims = list(ruled if ruled is not None else inferred or ())
        if ruled is None and inferred is None:
            return None
        if rows is not None and rows.axis >= len(dims):
            return None
        if inferred is not None and len(inferred) == len(dims):
            known = [(a, b) for a, b in zip(dims, inferred, strict=True)]
            dims = [b if b is not None and (a is None or b.number is not None) else a for a, b in known]
        for axis, size in enumerate(dims):
            if rows is not None and axis == rows.axis:
                dims[axis] = rows.size
            elif size is None:
                dims[axis] = self.named(f"{index}:{axis}")
        return tuple(dims)


def axis_of(value: Value, axis: int) -> int:
    """Return an axis counted from the left.

    Raises:
        UnclearError: when it is counted from the right and the rank is unknown, or there is no such axis.
    """
    rank = value.rank
    if rank is None:
        if axis < 0:
            raise UnclearError("counts an axis from the right of a tensor whose rank is unknown")
        return axis
    if not -rank <= axis < max(rank, 1):
        raise UnclearError(f"names axis {axis} of a tensor with {rank} axes", "check the model with onnx.checker")
    return axis % rank if rank else 0


def rank_of(value: Value) -> int:
    """Return the number of axes.

    Raises:
        UnclearError: when it is unknown.
    """
    if value.rank is None:
        raise UnclearError("works on a tensor whose rank is unknown")
    return value.rank


def rows_of(value: Value) -> Rows:
    """Return where the rows lie.

    Raises:
        UnclearError: when there are none.
    """
    if value.rows is None:
        raise UnclearError("works on a tensor whose batch axis is unknown")
    return value.rows


def dims_of(value: Value) -> Dims:
    """Return the shape.

    Raises:
        UnclearError: when the rank is unknown.
    """
    if value.dims is None:
        raise UnclearError("works on a tensor whose rank is unknown")
    return value.dims
