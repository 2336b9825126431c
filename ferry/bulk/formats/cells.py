"""What one cell of a text table means as an element of an input: the one place where that is decided.

pyarrow reads whole chunks of plain cells; `is_plain` says of which chunks it means the same as a `cell_reader` does.
Every other chunk comes here cell by cell. So what a spelling means never depends on the rows around it.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ferry.bulk.formats.columns import InputColumns
from ferry.errors import InvalidInputError
from ferry.json_elements import limits_of_dtype
from ferry.manifest import TensorSpec
from ferry.missing import is_missing_cell, missing_element

_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NAN = re.compile(r"[+-]?nan\([0-9a-z_]*\)", re.ASCII | re.IGNORECASE)  # as C writes some of them
_BLANKS = " \t"
_MAX_DIGITS = 4000  # more are refused by Python
_SHOWN_CHARS = 40


def cell_reader(column: InputColumns, place: int, decimal: str = ".") -> Callable[[str], Any]:
    """Return the function that judges the cells of a column, the `place`-th of its input.

    It returns the element that a cell is, exactly; in the place of a missing value what the manifest's rule says. It
    raises InvalidInputError, naming the column, for a cell that is none, and for a missing value that is refused.
    """
    spec, name = column.spec, column.names[place]
    if spec.is_string:
        return str
    kind = "f" if column.is_float else spec.numpy_dtype.kind

    def judge(cell: str) -> Any:
        text = cell.strip(_BLANKS)
        if is_missing_cell(spec, cell):
            return math.nan if column.pixels else missing_element(spec, place)
        if kind == "f":
            return _float(text, spec, name, decimal)
        return _bool(text, spec, name) if kind == "b" else _integer(text, spec, name)

    return judge


def _bool(text: str, spec: TensorSpec, name: str) -> bool:
    value = _BOOLS.get(text.lower())
    if value is None:
        raise _wrong(text, spec, name)
    return value


def _integer(text: str, spec: TensorSpec, name: str) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > _MAX_DIGITS:
        raise _wrong(text, spec, name)
    value = int(text)
    low, high = _limits(spec.dtype)
    if not low <= value <= high:
        raise _outside(text, spec, name)
    return value


def _float(text: str, spec: TensorSpec, name: str, decimal: str) -> float:
    number = text if decimal == "." else text.replace(".", "?").replace(decimal, ".")
    try:
        value = float(number)
    except ValueError:
        if _NAN.fullmatch(number):
            return math.nan
        raise _wrong(text, spec, name, decimal) from None
    # Python takes 1_000, other scripts' digits and more blanks for a number too; no other tool writes them.
    if "_" in number or not number.isascii() or number.strip() != number:
        raise _wrong(text, spec, name, decimal)
    if math.isinf(value) and number[-1].isdigit():
        raise _outside(text, spec, name)
    return value


@cache
def _limits(dtype: str) -> tuple[float, float]:
    return limits_of_dtype(dtype)


def is_plain(data: bytes, specs: Sequence[TensorSpec]) -> bool:
    """Say whether pyarrow may read a chunk's bytes: for it 0xFF is a whole number, here it is none."""
    has_integers = any(spec.numpy_dtype.kind in "iu" for spec in specs)
    return not (has_integers and (b"0x" in data or b"0X" in data))


def _wrong(cell: str, spec: TensorSpec, name: str, decimal: str | None = None) -> InvalidInputError:
    """Return the error for a cell; decimal: of a float, for which the other sign may be meant."""
    text = cell.strip(_BLANKS)
    shown = f"got {text[:_SHOWN_CHARS]!r}"
    other = "." if decimal == "," else ","
    if decimal and _FLOAT.fullmatch(text.replace(decimal, "?").replace(other, ".")):
        shown += f"; say --decimal {other} if that is its decimal sign"
    return InvalidInputError.at(name, f"column {name[:_SHOWN_CHARS]!r}: expected {spec.dtype}, {shown}")


def _outside(text: str, spec: TensorSpec, name: str) -> InvalidInputError:
    low, high = _limits(spec.dtype)
    detail = f"{text[:_SHOWN_CHARS]} is outside of {spec.dtype}, which holds {low} to {high}"
    return InvalidInputError.at(name, f"column {name[:_SHOWN_CHARS]!r}: {detail}")
