"""Where rows may lie: the batch axes that a signature allows, the most likely first. Runs nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ferry.manifest import MAX_MAX_ROWS
from worker.inspection.signature import Axis, Input, Signature

# Symbols that exporters and people give to a batch axis.
_BATCH_SYMBOLS = frozenset({"n", "b", "bs", "batch", "batchsize", "batchdim", "nbatch", "numbatch", "batches", "rows"})
# Each costs a few runs.
_MAX_CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class BatchAxes:
    """One batch axis for each input by name; `fixed_rows` is its size where the file fixes it."""

    axes: Mapping[str, int]
    fixed_rows: int | None = None


def candidates(signature: Signature) -> list[BatchAxes]:
    """Return the choices worth trying; none where some input has no axis that could be one."""
    if any(not each.axes for each in signature.inputs):
        return []
    found: list[BatchAxes] = []
    for choice in _choices(signature):
        if choice not in found:
            found.append(choice)
    return found[:_MAX_CANDIDATES]


def why_none(signature: Signature) -> str:
    """Say why there is no candidate: one sentence with the input and the remedy."""
    for each in signature.inputs:
        if each.axes is None:
            return f"input {each.name!r} declares no shape; re-export it with one"
        if not each.axes:
            return f"input {each.name!r} is a scalar, which has no rows; fix its value with --set {each.name}=VALUE"
    sizes = ", ".join(f"{each.name!r} {_render(each.axes or ())}" for each in signature.inputs)
    return f"the inputs share no batch axis ({sizes}); re-export with a free batch axis in every input"


def inner_axes(each: Input, batch_axis: int) -> tuple[Axis, ...]:
    """Return an input's axes without the batch axis.

    Some exporters give every free axis one symbol; an inner axis never has the size of the batch on purpose, so it gets
    a symbol of its own.
    """
    axes = each.axes or ()
    batch = axes[batch_axis]
    inner = axes[:batch_axis] + axes[batch_axis + 1 :]
    return tuple(f"{each.name}/{axis}" if isinstance(axis, str) and axis == batch else axis for axis in inner)


def is_batch_symbol(axis: Axis) -> bool:
    """Say whether a symbol is one that a batch axis has by convention."""
    return isinstance(axis, str) and axis.lower().replace("_", "").replace("-", "") in _BATCH_SYMBOLS


def _choices(signature: Signature) -> Iterator[BatchAxes]:
    first, *_ = signature.inputs
    symbols = [axis for axis in first.axes or () if isinstance(axis, str)]
    shared = [symbol for symbol in symbols if all(symbol in (each.axes or ()) for each in signature.inputs)]
    by_convention = [symbol for symbol in shared if is_batch_symbol(symbol)]
    for symbol in by_convention:
        yield _of_symbol(signature, symbol)
    first_axes = _first_axes(signature)
    if first_axes is not None and first_axes.fixed_rows is None:
        yield first_axes
    for symbol in shared:
        yield _of_symbol(signature, symbol)
    if all(each.free_axes for each in signature.inputs):
        yield BatchAxes({each.name: each.free_axes[0] for each in signature.inputs})
    if first_axes is not None:
        yield first_axes


def _of_symbol(signature: Signature, symbol: str) -> BatchAxes:
    return BatchAxes({each.name: (each.axes or ()).index(symbol) for each in signature.inputs})


def _first_axes(signature: Signature) -> BatchAxes | None:
    """Return axis 0 of every input, unless these are fixed at different sizes."""
    firsts = [(each.axes or ())[0] for each in signature.inputs]
    sizes = {size for size in firsts if isinstance(size, int)}
    if len(sizes) > 1 or any(not 1 <= size <= MAX_MAX_ROWS for size in sizes):
        return None
    return BatchAxes(dict.fromkeys((each.name for each in signature.inputs), 0), min(sizes, default=None))


def _render(axes: tuple[Axis, ...]) -> str:
    return f"({', '.join(str(axis) for axis in axes)})"
