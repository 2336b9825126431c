"""The signature: inputs, their axes and the size of the batch axis, as the file declares them. Runs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from ferry.errors import ModelRefusedError
from ferry.manifest import TensorSpec
from worker.inspection.element_types import dtype_of

# The limits the manifest sets to a name's length and to `fixed_rows`.
_MAX_NAME_CHARS = 256
_MAX_FIXED_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Signature:
    """What the file declares. `axes` names each input's inner axes: a size, or a symbol equal sizes share."""

    inputs: tuple[TensorSpec, ...]
    axes: tuple[tuple[int | str, ...], ...]
    fixed_rows: int | None

    @property
    def has_free_axes(self) -> bool:
        """Whether some inner axis takes any size."""
        return any(isinstance(axis, str) for axes in self.axes for axis in axes)


def read(graph: onnx.GraphProto) -> Signature:
    """Return the graph's signature.

    Raises:
        ModelRefusedError: when names, types or axes are none that Ferry serves.
    """
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    _refuse_names([value.name for value in inputs], "input")
    fixed: dict[str, int] = {}
    specs, axes = [], []
    for value in inputs:
        dims = _dims(value)
        # Some exporters give every free axis one symbol; an inner axis is never as long as the batch on purpose.
        batch, inner = (
            dims[0],
            tuple(f"{value.name}/{axis}" if isinstance(axis, str) and axis == dims[0] else axis for axis in dims[1:]),
        )
        if isinstance(batch, int):
            fixed[value.name] = batch
        shape = (None, *(axis if isinstance(axis, int) else None for axis in inner))
        specs.append(TensorSpec(name=value.name, dtype=dtype_of(value), shape=shape))
        axes.append(inner)
    fixed_rows = _agreed_rows(fixed)
    _refuse_names([output.name for output in graph.output], "output")
    return Signature(tuple(specs), tuple(axes), fixed_rows)


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


def _dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Return each axis' size, or its symbol; axes without a symbol get one of their own."""
    if not value.type.tensor_type.HasField("shape") or not value.type.tensor_type.shape.dim:
        what = "is a scalar" if value.type.tensor_type.HasField("shape") else "declares no shape"
        raise ModelRefusedError(
            f"input {value.name!r} {what}, so it has no batch axis; re-export it as (batch, ...) with a free first axis"
        )
    return tuple(
        # Some exporters write -1 for "any size".
        dim.dim_value
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0
        else str(dim.dim_param) or f"{value.name}.{index}"
        for index, dim in enumerate(value.type.tensor_type.shape.dim)
    )


def _agreed_rows(fixed: dict[str, int]) -> int | None:
    """Return the one size batch axes are fixed at, if any is."""
    sizes = sorted(set(fixed.values()))
    if not sizes:
        return None
    if len(sizes) > 1:
        said = ", ".join(f"{name!r} at {size}" for name, size in fixed.items())
        raise ModelRefusedError(
            f"the inputs' first axes are fixed at different sizes ({said}), so they share no batch axis; "
            "re-export with the batch axis first and free in every input (dynamic_axes / dynamic_shapes)"
        )
    if not 1 <= sizes[0] <= _MAX_FIXED_ROWS:
        raise ModelRefusedError(
            f"the batch axis is fixed at {sizes[0]}, possible are 1 to {_MAX_FIXED_ROWS}; "
            "re-export with a free batch axis (dynamic_axes / dynamic_shapes)"
        )
    return sizes[0]
