"""Which axes the manifest gives the tensors: batched as the trial found them, else as one row becomes a whole job."""

from collections.abc import Sequence

from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from worker.inspection.batch_axes import inner_axes
from worker.inspection.outputs import Declared, declared_batch_axis
from worker.inspection.signature import Signature
from worker.inspection.trial import Trial


def output_axes(trial: Trial, said: Signature, declared: Sequence[Declared], *, is_batched: bool) -> list[int | None]:
    """Return the batch axis of each output: as the trial saw it, else as the file declares it.

    Raises:
        InvalidInputError: batched by override, and an output has none.
    """
    has_rows = all(_whole_axis(each.axes) == 0 for each in said.inputs)
    if trial.layout is not None and (is_batched or (has_rows and not any(trial.layout.inputs.axes.values()))):
        return list(trial.layout.outputs)
    fixed_rows = trial.choice.fixed_rows if trial.choice and is_batched else 1
    axes = [declared_batch_axis(output, fixed_rows) for output in declared]
    if not is_batched:
        return [axis if has_rows else None for axis in axes]
    for output, axis in zip(declared, axes, strict=True):
        if axis is None:
            raise InvalidInputError(
                f"--rows-independent is not possible: output {output.name!r} declares no batch axis, and none was seen "
                f"since {trial.untried}; give real inputs with --example FILE.npz"
            )
    return axes


def describe_inputs(trial: Trial, said: Signature, *, is_batched: bool) -> tuple[TensorSpec, ...]:
    """Return the inputs in the model's own layout; batched, the size along the batch axis is free."""
    choice = trial.choice
    specs = []
    for each in said.inputs:
        if each.axes is None:
            specs.append(TensorSpec(name=each.name, dtype=each.dtype, batch_axis=None, has_any_rank=True))
            continue
        shape = tuple(axis if isinstance(axis, int) else None for axis in each.axes)
        batch_axis = _whole_axis(each.axes)
        if choice is not None and is_batched:
            batch_axis = choice.axes[each.name]
            shape = (*shape[:batch_axis], None, *shape[batch_axis + 1 :])
        specs.append(TensorSpec(name=each.name, dtype=each.dtype, shape=shape, batch_axis=batch_axis))
    return tuple(specs)


def _whole_axis(axes: Sequence[int | str] | None) -> int | None:
    """Return the axis along which one row becomes a whole job: the first, where it may have size 1."""
    return 0 if axes and (isinstance(axes[0], str) or axes[0] == 1) else None


def has_free_axes(trial: Trial, said: Signature) -> bool:
    """Say whether sizes could still change that were the same in every run."""
    choice = trial.choice
    if choice is None or len({n_rows for n_rows, _ in trial.runs}) < 2:
        return said.has_free_axes
    return any(isinstance(axis, str) for each in said.inputs for axis in inner_axes(each, choice.axes[each.name]))
