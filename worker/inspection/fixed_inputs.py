"""Inputs that have one value in every run (`--set NAME=VALUE`): read from text and checked against the signature."""

from collections.abc import Iterable, Sequence

import numpy as np

from ferry.errors import InvalidInputError
from ferry.manifest import FixedInput
from worker.inspection.signature import Input, Signature

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def fix_inputs(signature: Signature, settings: Iterable[str]) -> tuple[Signature, tuple[FixedInput, ...]]:
    """Return the signature without the inputs that have a fixed value, and those values.

    `settings`: one `NAME=VALUE` each; VALUE is a scalar, or a list with commas for an input with one axis.

    Raises:
        InvalidInputError: when a text names no input, or its value does not fit; the text says what would.
    """
    inputs = {each.name: each for each in signature.inputs}
    fixed: dict[str, FixedInput] = {}
    for text in settings:
        name, is_pair, value = text.partition("=")
        if not is_pair or name not in inputs:
            names = ", ".join(inputs)
            raise InvalidInputError(f"--set {text}: expected NAME=VALUE with the name of an input; there are {names}")
        if name in fixed:
            raise InvalidInputError(f"--set {text}: {name} is set twice; give it once")
        fixed[name] = _fixed(inputs[name], value)
    rest = tuple(each for each in signature.inputs if each.name not in fixed)
    if not rest:
        raise InvalidInputError("--set fixes every input, so a job would have nothing to send; leave one out")
    return Signature(rest), tuple(fixed.values())


def _fixed(wanted: Input, text: str) -> FixedInput:
    parts = text.split(",")
    n_axes = len(wanted.axes) if wanted.axes is not None else int(len(parts) > 1)
    where = f"--set {wanted.name}={text}"
    if n_axes > 1:
        raise InvalidInputError(f"{where}: {wanted.name} has {n_axes} axes; only a scalar or a list can be fixed")
    if n_axes == 0 and wanted.dtype == "string":
        parts = [text]
    size = wanted.axes[0] if n_axes and wanted.axes is not None else len(parts)
    if (n_axes == 0 and len(parts) > 1) or (isinstance(size, int) and size != len(parts)):
        expected = "one value" if n_axes == 0 else f"{size} values"
        raise InvalidInputError(f"{where}: expected {expected}, got {len(parts)}")
    return FixedInput(
        name=wanted.name,
        dtype=wanted.dtype,
        shape=(len(parts),) if n_axes else (),
        values=tuple(_value(wanted.dtype, part, where) for part in _stripped(parts, wanted.dtype)),
    )


def _stripped(parts: Sequence[str], dtype: str) -> list[str]:
    return list(parts) if dtype == "string" else [part.strip() for part in parts]


def _value(dtype: str, text: str, where: str) -> bool | int | float | str:
    if dtype == "string":
        return text
    if dtype == "bool":
        if text.lower() not in _BOOLEANS:
            raise InvalidInputError(f"{where}: {text!r} is no bool; write true or false")
        return _BOOLEANS[text.lower()]
    try:
        number = float(text) if dtype.startswith("float") else int(text)
    except ValueError:
        raise InvalidInputError(f"{where}: {text!r} is no {dtype}") from None
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    # Whole numbers are compared as they are: as float64 the limits of int64 are rounded up. NaN is never within.
    least, greatest = (limits.min, limits.max) if isinstance(number, int) else (float(limits.min), float(limits.max))
    if not least <= number <= greatest:
        raise InvalidInputError(f"{where}: {text} does not fit into {dtype} ({limits.min} to {limits.max})")
    return number
