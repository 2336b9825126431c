"""The outputs: what the file declares of them, what the trial's runs showed, and which of both is written down."""

from collections.abc import Collection, Mapping, Sequence

import onnxruntime as ort

from ferry.errors import ModelRefusedError
from ferry.manifest import TensorSpec
from ferry.tensors import Array
from worker.inspection.element_types import DTYPE_OF_ORT, unsupported
from worker.inspection.map_session import MAP_TYPES, PLAIN_TENSORS_HINT, MapKeys

# (name, dtype, shape); an empty shape is a scalar or not known.
Declared = tuple[str, str, list[int | str | None]]


def declared_outputs(session: ort.InferenceSession) -> list[Declared]:
    """Return each output as the file declares it; a list of maps (ZipMap) as what becomes of it, (rows, keys).

    Raises:
        ModelRefusedError: when its type is not served.
    """
    outputs: list[Declared] = []
    for output in session.get_outputs():
        if output.type in MAP_TYPES:
            outputs.append((output.name, "float32", [None, None]))
            continue
        if output.type not in DTYPE_OF_ORT:
            raise unsupported("output", output.name, output.type)
        outputs.append((output.name, DTYPE_OF_ORT[output.type], output.shape))
    return outputs


def observed_outputs(
    declared: Sequence[Declared], runs: list[tuple[int, list[Array]]], *, may_settle: bool
) -> tuple[TensorSpec, ...]:
    """Return the outputs as they came.

    A size that every run agrees on is settled where the file declares it, or where `may_settle` says that
    neither free input axes nor values could change it.

    Raises:
        ModelRefusedError: when an output's number of axes changes.
    """
    specs = []
    for index, (name, _, shape) in enumerate(declared):
        seen = [outputs[index] for _, outputs in runs]
        if len({array.ndim for array in seen}) > 1:
            raise ModelRefusedError(
                f"output {name!r} has another number of axes from run to run; re-export with a fixed one"
            )
        sizes = [{array.shape[axis] for array in seen} for axis in range(1, seen[0].ndim)]
        told: list[int | str | None] = shape[1:] if len(shape) == seen[0].ndim else [None] * len(sizes)
        inner = [
            min(size) if len(size) == 1 and (may_settle or size == {said}) else None
            for size, said in zip(sizes, told, strict=True)
        ]
        dtype = "string" if seen[0].dtype == object else seen[0].dtype.name
        specs.append(TensorSpec(name=name, dtype=dtype, shape=(None, *inner)))
    return tuple(specs)


def believed_outputs(declared: Sequence[Declared], fixed_rows: int | None) -> tuple[TensorSpec, ...]:
    """Return the outputs as the file declares them, for a model that made-up rows could not run.

    Raises:
        ModelRefusedError: when one declares no batch axis.
    """
    specs = []
    for name, dtype, shape in declared:
        if not shape or (isinstance(shape[0], int) and shape[0] != fixed_rows):
            what = f"is {_render(shape)}" if shape else "declares no shape"
            raise ModelRefusedError(
                f"output {name!r} {what}, so it has no batch axis, and made-up rows could not be run to see; "
                "re-export with outputs of shape (batch, ...)"
            )
        inner = (size if isinstance(size, int) else None for size in shape[1:])
        specs.append(TensorSpec(name=name, dtype=dtype, shape=(None, *inner)))
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
            f"be run; {PLAIN_TENSORS_HINT}"
        )
    return TensorSpec.model_validate(spec.model_dump() | {"shape": (spec.shape[0], len(keys)), "map_keys": keys})


def _render(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('any' if axis is None else str(axis) for axis in shape)})"
