"""Which columns of a table are which input of the model. Knows names, no values.

An input is one column of its name, or as many columns as a row has elements: x_0, x_1, ... (or x.0, x[0]), and for a
model of one input simply as many columns as that. Other columns are left alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ferry.bulk.formats.base import Rules
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec

_NUMBERED = ("{}_{}", "{}.{}", "{}[{}]")
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class InputColumns:
    """One input's columns by name; `is_whole` where one column holds a whole row."""

    spec: TensorSpec
    names: tuple[str, ...]
    is_whole: bool


def map_columns(names: Sequence[str], rules: Rules, *, has_lists: bool) -> list[InputColumns]:
    """Return the columns of every input; `has_lists` says whether one column may hold several elements.

    Raises:
        InvalidInputError: columns that are missing, doubled or too few.
    """
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise InvalidInputError(f"two columns have the name {doubled[0][:40]!r}")
    for name in () if rules.joins_all else rules.join:
        if name not in names:
            raise InvalidInputError(f"there is no column {name[:40]!r} to join; there are {_some(names)}")
    return [_columns_of(spec, names, rules, has_lists=has_lists) for spec in rules.manifest.inputs]


def joined_names(names: Sequence[str], columns: Sequence[InputColumns], rules: Rules) -> tuple[str, ...]:
    """Return which columns are echoed beside the outputs."""
    if not rules.joins_all:
        return rules.join
    taken = {name for column in columns for name in column.names}
    return tuple(name for name in names if name not in taken)


def _columns_of(spec: TensorSpec, names: Sequence[str], rules: Rules, *, has_lists: bool) -> InputColumns:
    width = None if None in spec.inner_shape else math.prod(size or 0 for size in spec.inner_shape)
    if spec.name in names and (has_lists or width == 1):
        return InputColumns(spec, (spec.name,), is_whole=has_lists)
    if width is None:
        raise InvalidInputError(f"input {spec.name!r} has an axis of any size; it needs one column of lists or JSONL")
    known = set(names)
    for pattern in _NUMBERED:
        wanted = tuple(pattern.format(spec.name, number) for number in range(width))
        if known.issuperset(wanted):
            return InputColumns(spec, wanted, is_whole=False)
    rest = tuple(name for name in names if rules.joins_all or name not in rules.join)
    if len(rules.manifest.inputs) == 1 and len(rest) == width:
        return InputColumns(spec, rest, is_whole=False)
    one = f"a column {spec.name!r}" if has_lists or width == 1 else f"columns {spec.name}_0 to {spec.name}_{width - 1}"
    only = f", or {width} columns beside those joined" if len(rules.manifest.inputs) == 1 else ""
    raise InvalidInputError(f"input {spec.name!r} needs {one}{only}; there are {len(names)}: {_some(names)}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN_NAMES])
    return shown + (", ..." if len(names) > _SHOWN_NAMES else "")
