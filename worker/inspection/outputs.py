"""The outputs: what the file declares of them, what the trial's runs showed, and which of both is written down."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ferry.errors import ModelRefusedError
from ferry.manifest import TensorSpec
from ferry.tensors import Array
from worker.inspection.element_types import unsupported
from worker.inspection.layout import Run
from worker.inspection.map_session import MAP_TYPES, PLAIN_TENSORS_HINT, MapKeys, MapSession
from worker.session_check import DTYPE_OF_ORT


@dataclass(frozen=True, slots=True)
class Declared:
    """One output as the file declares it. An empty shape is a scalar or not known."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] = ()


def declared_outputs(session: MapSession) -> list[Declared]:
    """Return each output as the file declares it; a list of maps (ZipMap) as what becomes of it, (rows, keys).

    Raises:
        ModelRefusedError: when its type is not served.
    """
    outputs = []
    for output in session.get_outputs():
        if output.type in MAP_TYPES:
            outputs.append(Declared(output.name, "float32", (None, None)))
        elif output.type in DTYPE_OF_ORT:
            outputs.append(Declared(output.name, DTYPE_OF_ORT[output.type], tuple(output.shape)))
        else:
            raise unsupported("output", output.name, output.type)
    return outputs


def declared_batch_axis(declared: Declared, fixed_rows: int | None) -> int | None:
    """Return axis 0 where it is free or fixed at the number of rows, else None."""
    shape = declared.shape
    return 0 if shape and (not isinstance(shape[0], int) or shape[0] in (-1, fixed_rows)) else None


def describe_outputs(
    declared: Sequence[Declared],
    runs: Sequence[Run],
    batch_axes: Sequence[int | None],
    *,
    is_batched: bool,
    has_free_axes: bool,
    is_value_sized: bool,
) -> tuple[TensorSpec, ...]:
    """Return the outputs in the model's own layout, as the runs showed them, or as declared where nothing ran.

    A size that every run agrees on is settled where the file declares it; batched, also where neither free axes nor
    values could change it. (Of a whole job any input may hold a size: the axes of a reduction, the target of a
    reshape.) A number of axes that the file does not declare is settled unless values could change it. Batched, the
    size along the batch axis stays free.
    """
    specs = []
    # Only runs of different values show a size that values change.
    may_settle = is_batched and len(runs) > 1 and not (has_free_axes or is_value_sized)
    for index, (output, batch_axis) in enumerate(zip(declared, batch_axes, strict=True)):
        seen = [outputs[index] for _, outputs in runs]
        dtype = output.dtype if not seen else "string" if seen[0].dtype == object else seen[0].dtype.name
        has_rank = is_batched or not is_value_sized
        shape = _shape_of(output, seen, may_settle=may_settle, has_rank=has_rank)
        if shape is None:
            specs.append(TensorSpec(name=output.name, dtype=dtype, batch_axis=None, has_any_rank=True))
            continue
        axis = batch_axis if batch_axis is not None and batch_axis < len(shape) else None
        if is_batched and axis is not None:
            shape = (*shape[:axis], None, *shape[axis + 1 :])
        specs.append(TensorSpec(name=output.name, dtype=dtype, shape=shape, batch_axis=axis))
    return tuple(specs)


def with_map_keys(
    outputs: Sequence[TensorSpec], map_outputs: Collection[str], keys: Mapping[str, MapKeys]
) -> tuple[TensorSpec, ...]:
    """Return the outputs; those that are lists of maps (`map_outputs`) with their keys, as the runs showed them.

    Raises:
        ModelRefusedError: no run showed the keys of one.
    """
    return tuple(_with_keys(spec, keys.get(spec.name, ())) if spec.name in map_outputs else spec for spec in outputs)


def _with_keys(spec: TensorSpec, keys: MapKeys) -> TensorSpec:
    if not keys:
        raise ModelRefusedError(
            f"output {spec.name!r} is a list of maps (ZipMap), whose keys only a run shows, and made-up rows could not "
            f"be run; give real inputs with --example FILE.npz, or {PLAIN_TENSORS_HINT}"
        )
    return TensorSpec.model_validate(spec.model_dump() | {"shape": (spec.shape[0], len(keys)), "map_keys": keys})


def _shape_of(
    output: Declared, seen: Sequence[Array], *, may_settle: bool, has_rank: bool
) -> tuple[int | None, ...] | None:
    """Return the sizes that cannot change, None for others; None for all where the number of axes is not known."""
    if not seen:
        return tuple(_size(axis) for axis in output.shape) or None
    ranks = {array.ndim for array in seen}
    if len(ranks) > 1:
        return None
    sizes = [{array.shape[axis] for array in seen} for axis in range(seen[0].ndim)]
    if len(output.shape) == len(sizes):
        declared = [_size(axis) for axis in output.shape]
    elif has_rank and not output.shape:
        declared = [None] * len(sizes)
    else:
        return None
    return tuple(
        min(size) if len(size) == 1 and (may_settle or size == {said}) else None
        for size, said in zip(sizes, declared, strict=True)
    )


def _size(axis: int | str | None) -> int | None:
    return axis if isinstance(axis, int) and axis >= 0 else None
