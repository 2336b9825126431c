"""Which columns of a table are which input of the model. Knows names, no values.

An input is one column of its name, or as many columns as a row has elements: x_0, x_1, ... (or x.0, x[0]), and for a
model of one input simply as many columns as that. Columns that the manifest names as pixels (`preprocess.columns`) are
an input too. Other columns are left alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ferry.bulk.formats.base import Rules
from ferry.errors import InvalidInputError
from ferry.manifest import Preprocess, TensorSpec

_NUMBERED = ("_{}", ".{}", "[{}]")  # after the name of the input
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class InputColumns:
    """One input's columns by name; `is_whole` where one column holds a whole row.

    pixels: how the columns' raw pixels become the input; None where they hold the input's own values.
    """

    spec: TensorSpec
    names: tuple[str, ...]
    is_whole: bool
    pixels: Preprocess | None = None


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
    found = _named_columns(spec, names, has_lists=has_lists)
    pixels = _pixel_columns(spec, names)
    if found and pixels:
        raise InvalidInputError(
            f"columns {found.names[0][:40]!r} and {pixels.names[0][:40]!r} are both input {spec.name!r}; leave one out"
        )
    return found or pixels or _columns_by_place(spec, names, rules, has_lists=has_lists)


def _named_columns(spec: TensorSpec, names: Sequence[str], *, has_lists: bool) -> InputColumns | None:
    width = _width(spec)
    if spec.name in names and (has_lists or width == 1):
        return InputColumns(spec, (spec.name,), is_whole=has_lists)
    if width is None:
        return None
    known = set(names)
    for ending in _NUMBERED:
        wanted = tuple(spec.name + each for each in _numbered_names(ending, width, 0))
        if known.issuperset(wanted):
            return InputColumns(spec, wanted, is_whole=False)
    return None


def _pixel_columns(spec: TensorSpec, names: Sequence[str]) -> InputColumns | None:
    """Return the columns of raw pixels, numbered from 0 or from 1."""
    how = spec.preprocess
    if how is None or not how.columns:
        return None
    width = how.n_values or 0
    known = set(names)
    found = [wanted for first in (0, 1) if known.issuperset(wanted := _numbered_names(how.columns, width, first))]
    if len(found) > 1:
        detail = f"there are columns {found[0][0]!r} to {found[1][-1]!r}, which is one more than the {width} pixels"
        raise InvalidInputError(f"{detail} of input {spec.name!r}; leave one out")
    return InputColumns(spec, found[0], is_whole=False, pixels=how) if found else None


def _columns_by_place(spec: TensorSpec, names: Sequence[str], rules: Rules, *, has_lists: bool) -> InputColumns:
    width = _width(spec)
    if width is None:
        raise InvalidInputError(f"input {spec.name!r} has an axis of any size; it needs one column of lists or JSONL")
    rest = tuple(name for name in names if rules.joins_all or name not in rules.join)
    if len(rules.manifest.inputs) == 1 and len(rest) == width:
        return InputColumns(spec, rest, is_whole=False)
    one = f"a column {spec.name!r}" if has_lists or width == 1 else f"columns {spec.name}_0 to {spec.name}_{width - 1}"
    if spec.preprocess and spec.preprocess.columns:
        first, last = (spec.preprocess.columns.replace("{}", str(number)) for number in (0, width - 1))
        one += f" (or pixels {first} to {last})"
    only = f", or {width} columns beside those joined" if len(rules.manifest.inputs) == 1 else ""
    raise InvalidInputError(f"input {spec.name!r} needs {one}{only}; there are {len(names)}: {_some(names)}")


def _width(spec: TensorSpec) -> int | None:
    """Return the number of elements in a row; None where it differs."""
    return None if None in spec.inner_shape else math.prod(size or 0 for size in spec.inner_shape)


def _numbered_names(pattern: str, width: int, first: int) -> tuple[str, ...]:
    return tuple(pattern.replace("{}", str(number)) for number in range(first, first + width))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN_NAMES])
    return shown + (", ..." if len(names) > _SHOWN_NAMES else "")
