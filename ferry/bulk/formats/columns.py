"""Which columns of a table are which input of the model. Knows names, no values.

An input is one column of its name, or as many columns as a row has elements: x_0, x_1, ... (or x.0, x[0]). Where no
column is named after an input, case aside, and there are exactly as many as all inputs need, they are taken by their
place; the index of a data frame, which is in front of them, is never one of them. Columns that the manifest names as
pixels (`preprocess.columns`) are an input too. A numbered column beyond the size of its input is refused. Other columns
are left alone.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from ferry.bulk.formats.base import Rules
from ferry.errors import InvalidInputError
from ferry.manifest import Preprocess, TensorSpec

_NUMBERED = ("_{}", ".{}", "[{}]")  # after the name of the input
_UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)*", re.ASCII)  # as pandas reads a column without a name
_INDEX = re.compile(r"__index_level_\d+__", re.ASCII)  # as Arrow writes an index, behind the columns
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class InputColumns:
    """One input's columns by name; `is_whole` where one column holds a whole row, `by_place` where no name fits.

    pixels: how the columns' raw pixels become the input; None where they hold the input's own values.
    """

    spec: TensorSpec
    names: tuple[str, ...]
    is_whole: bool
    pixels: Preprocess | None = None
    by_place: bool = False

    @property
    def is_float(self) -> bool:
        """Whether a cell of these columns is read as a float; raw pixels are."""
        return self.pixels is not None or self.spec.numpy_dtype.kind == "f"


def map_columns(names: Sequence[str], rules: Rules, *, has_lists: bool, has_names: bool = True) -> list[InputColumns]:
    """Return the columns of every input.

    has_lists: whether one column may hold several elements. has_names: False where the file names no columns.

    Raises:
        InvalidInputError: columns that are missing, doubled, too few or too many.
    """
    for name in () if rules.joins_all else rules.join:
        if name not in names:
            raise InvalidInputError(f"there is no column {name[:40]!r} to join; there are {_some(names)}")
    specs = rules.manifest.inputs
    found = [_named(spec, names, rules, has_lists=has_lists) if has_names else None for spec in specs]
    columns = [each for each in found if each]
    if not columns and not (has_names and any(_is_named_after(spec, name) for spec in specs for name in names)):
        if has_names:
            _refuse_other_case(names, rules)
        columns = _by_place(names, rules)
    if len(columns) < len(found):
        _refuse_other_case(names, rules)
        missing = next(spec for spec, each in zip(specs, found, strict=True) if not each)
        raise _missing(missing, names, rules, has_lists=has_lists)
    _refuse_doubled(names, columns, rules)
    _refuse_beyond(names, columns, rules)
    return columns


def _refuse_beyond(names: Sequence[str], columns: Sequence[InputColumns], rules: Rules) -> None:
    """Refuse a column that is numbered as an element of an input which has no such element."""
    used = {name for column in columns for name in column.names}.union(rules.join)
    for column in columns:
        if column.by_place or column.names == (column.spec.name,):
            continue
        for name in names:
            if name not in used and _is_named_after(column.spec, name):
                raise InvalidInputError(
                    f"the model has no input {name[:40]!r}: input {column.spec.name!r} is columns "
                    f"{column.names[0][:40]!r} to {column.names[-1][:40]!r}; leave it out, or repeat it in the output "
                    f"with --join {name[:40]}"
                )


def _refuse_doubled(names: Sequence[str], columns: Sequence[InputColumns], rules: Rules) -> None:
    """Refuse a name of two columns if an input or the output needs it."""
    if len(set(names)) == len(names):
        return
    needed = {name for column in columns for name in column.names}.union(joined_names(names, columns, rules))
    doubled = sorted(name for name, count in Counter(names).items() if count > 1 and name in needed)
    if doubled:
        raise InvalidInputError(f"two columns have the name {doubled[0][:40]!r}; rename one, or leave it out")


def joined_names(names: Sequence[str], columns: Sequence[InputColumns], rules: Rules) -> tuple[str, ...]:
    """Return which columns are echoed beside the outputs."""
    if not rules.joins_all:
        return rules.join
    left_out = {name for column in columns for name in column.names}.union(index_names(names, rules))
    return tuple(name for name in names if name not in left_out)


def index_names(names: Sequence[str], rules: Rules) -> list[str]:
    """Return the names of the columns that are the index of a data frame.

    pandas and R write it in front, without a name; Arrow's has a name that says so.
    """
    joined = () if rules.joins_all else rules.join
    front = takewhile(lambda name: _UNNAMED.fullmatch(name) or _INDEX.fullmatch(name) or name in joined, names)
    index = {name for name in front if _UNNAMED.fullmatch(name)}
    return [name for name in names if name in index or _INDEX.fullmatch(name)]


def column_notes(names: Sequence[str], columns: Sequence[InputColumns], rules: Rules) -> tuple[str, ...]:
    """Return what a batch says of its columns: those left out as an index, and those taken by their place."""
    used = {name for column in columns for name in column.names}.union(joined_names(names, columns, rules))
    index = index_names(names, rules)
    notes = []
    for place, name in enumerate(names, 1):
        if name in used:
            continue
        if name in index:
            notes.append(f"column {place} ({name!r}) is left out: it looks like the index of a data frame")
        elif _UNNAMED.fullmatch(name):
            notes.append(f"column {place} has no name and is left out")
        elif inputs := [each.spec for each in columns if not each.by_place and _is_named_after(each.spec, name)]:
            notes.append(f"column {place} ({name!r}) is left out: input {inputs[0].name!r} is the column of that name")
    notes += [
        f"columns are taken by their place, as none is named after input {column.spec.name!r}: {_some(column.names)}"
        for column in columns
        if column.by_place
    ]
    return tuple(notes)


def _named(spec: TensorSpec, names: Sequence[str], rules: Rules, *, has_lists: bool) -> InputColumns | None:
    known = set(names)
    others = {other.name for other in rules.manifest.inputs if other.name != spec.name}
    ways = [
        InputColumns(spec, wanted, is_whole=False)
        for wanted in numbered_columns(spec)
        if known.issuperset(wanted) and others.isdisjoint(wanted)
    ]
    if spec.name in known and (has_lists or _width(spec) == 1):
        ways.insert(0, InputColumns(spec, (spec.name,), is_whole=has_lists))
    if pixels := _pixel_columns(spec, names):
        ways.append(pixels)
    ways[1:] = [each for each in ways[1:] if not set(rules.join).issuperset(each.names)]
    if len(ways) > 1:
        raise InvalidInputError(
            f"columns {ways[0].names[0][:40]!r} and {ways[1].names[0][:40]!r} are both input {spec.name!r}; "
            "leave one out"
        )
    return ways[0] if ways else None


def numbered_columns(spec: TensorSpec) -> list[tuple[str, ...]]:
    """Return the names that the elements of an input's row can have as columns; none where a row has any size."""
    if not (width := _width(spec)):
        return []
    return [tuple(spec.name + each for each in _numbered_names(ending, width, 0)) for ending in _NUMBERED]


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


def _is_named_after(spec: TensorSpec, name: str) -> bool:
    """Say whether a name is an input's and a number, whether there is such an element or not; case aside."""
    pixels = spec.preprocess.columns if spec.preprocess else ""
    return _numbered_pattern(spec.name, pixels or "").fullmatch(name.strip()) is not None


@lru_cache(maxsize=64)
def _numbered_pattern(name: str, pixels: str) -> re.Pattern[str]:
    """Return the pattern of an input's numbered columns, and of its pixels if they have a pattern."""
    patterns = [name + ending for ending in _NUMBERED] + [pixels] * bool(pixels)
    wanted = "|".join(re.escape(pattern).replace(re.escape("{}"), r"\d+") for pattern in patterns)
    return re.compile(wanted, re.IGNORECASE | re.ASCII)


def _refuse_other_case(names: Sequence[str], rules: Rules) -> None:
    """Refuse names that are an input's but for case and blanks: by their place they could be another input."""
    known = set(names)
    wanted = {name.casefold(): name for spec in rules.manifest.inputs for name in _names_of(spec) if name not in known}
    joined = () if rules.joins_all else rules.join
    alike = {
        name: wanted[plain] for name in names if name not in joined and (plain := name.strip().casefold()) in wanted
    }
    if alike:
        pairs = ", ".join(f"{name[:40]!r} to {right!r}" for name, right in list(alike.items())[:_SHOWN_NAMES])
        more = ", ..." if len(alike) > _SHOWN_NAMES else ""
        raise InvalidInputError(f"columns differ from inputs only in upper and lower case; rename {pairs}{more}")


def _names_of(spec: TensorSpec) -> Iterator[str]:
    """Yield every name that a column of an input may have."""
    yield spec.name
    for way in numbered_columns(spec):
        yield from way
    if spec.preprocess and spec.preprocess.columns:
        yield from _numbered_names(spec.preprocess.columns, (spec.preprocess.n_values or 0) + 1, 0)


def _by_place(names: Sequence[str], rules: Rules) -> list[InputColumns]:
    """Return the columns of every input in the manifest's order; none where there are more or fewer of them."""
    index = index_names(names, rules)
    rest = [name for name in names if name not in index and (rules.joins_all or name not in rules.join)]
    widths = [_width(spec) or 0 for spec in rules.manifest.inputs]
    if sum(widths) != len(rest) or 0 in widths:
        return []
    columns = []
    for spec, width in zip(rules.manifest.inputs, widths, strict=True):
        columns.append(InputColumns(spec, tuple(rest[:width]), is_whole=False, by_place=True))
        rest = rest[width:]
    return columns


def _missing(spec: TensorSpec, names: Sequence[str], rules: Rules, *, has_lists: bool) -> InvalidInputError:
    width = _width(spec)
    if width is None:
        return InvalidInputError(f"input {spec.name!r} has an axis of any size; it needs one column of lists or JSONL")
    one = f"a column {spec.name!r}" if has_lists or width == 1 else f"columns {spec.name}_0 to {spec.name}_{width - 1}"
    if spec.preprocess and spec.preprocess.columns:
        first, last = (spec.preprocess.columns.replace("{}", str(number)) for number in (0, width - 1))
        one += f" (or pixels {first} to {last})"
    beside = "1 column" if width == 1 else f"{width} columns"
    some = _incomplete(spec, names, width)
    if some:
        return InvalidInputError(f"input {spec.name!r} needs {one}; {some}; there are {len(names)}: {_some(names)}")
    only = f", or {beside} beside those joined" if len(rules.manifest.inputs) == 1 else ""
    n_more = len(names) - len(rules.join) - (width or 0)
    if only and n_more > 0:
        what = "1 column" if n_more == 1 else f"{n_more} columns"
        only += (
            f" ({what} too many: leave out what is no input, or repeat it in the output with --join {names[0][:40]})"
        )
    index = index_names(names, rules)
    left_out = f" ({index[0]!r} does not count: it looks like an index)" if index else ""
    return InvalidInputError(f"input {spec.name!r} needs {one}{only}; there are {len(names)}: {_some(names)}{left_out}")


def _incomplete(spec: TensorSpec, names: Sequence[str], width: int) -> str:
    """Say which of an input's numbered columns is missing, where others are there; else nothing."""
    for ending in _NUMBERED:
        wanted = _numbered_names(ending, width, 0)
        absent = [spec.name + each for each in wanted if spec.name + each not in names]
        if not absent:  # each is another input's own
            return ""
        if len(absent) < width:
            more = "" if len(absent) == 1 else f" and {len(absent) - 1} more"
            return f"the columns named after it are incomplete: {absent[0]!r}{more} is missing"
    others = [name for name in names if _numbered_pattern(spec.name, "").fullmatch(name.strip())]
    return f"the columns named after it have other numbers: {_some(others)}" if others else ""


def _width(spec: TensorSpec) -> int | None:
    """Return the number of elements in a row; None where it differs."""
    return None if None in spec.inner_shape else math.prod(size or 0 for size in spec.inner_shape)


def _numbered_names(pattern: str, width: int, first: int) -> tuple[str, ...]:
    return tuple(pattern.replace("{}", str(number)) for number in range(first, first + width))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN_NAMES])
    return shown + (", ..." if len(names) > _SHOWN_NAMES else "")
