"""What one cell of a text table means as an element of an input: the one place where that is decided.

pyarrow reads whole chunks of plain cells; `is_plain` says of which chunks it means the same by them as `judge` does.
Every other chunk comes here cell by cell. So a spelling never depends on the rows around it.
"""

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from ferry.errors import InvalidInputError
from ferry.json_elements import limits_of_dtype
from ferry.manifest import TensorSpec

_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NAN = re.compile(r"[+-]?nan\([0-9a-z_]*\)", re.ASCII | re.IGNORECASE)  # as C writes some of them
_BLANKS = " \t"
_MAX_DIGITS = 4000  # more are refused by Python
_SHOWN_CHARS = 40


def judge(cell: str, spec: TensorSpec, name: str, decimal: str = ".") -> Any:
    """Return the element of `spec` that a cell of column `name` is, exactly.

    Raises:
        InvalidInputError: it is none, or is empty; the message names the column.
    """
    if spec.is_string:
        return cell
    text = cell.strip(_BLANKS)
    kind = spec.numpy_dtype.kind
    if not text:
        raise _wrong(cell, spec, name)
    if kind == "b":
        if text.lower() not in _BOOLS:
            raise _wrong(cell, spec, name)
        return _BOOLS[text.lower()]
    return _integer(text, spec, name) if kind in "iu" else _float(text, spec, name, decimal)


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


def _wrong(cell: str, spec: TensorSpec, name: str, decimal: str = ".") -> InvalidInputError:
    text = cell.strip(_BLANKS)
    shown = f"got {text[:_SHOWN_CHARS]!r}" if text else "it is empty"
    other = "." if decimal == "," else ","
    if spec.numpy_dtype.kind == "f" and _FLOAT.fullmatch(text.replace(decimal, "?").replace(other, ".")):
        shown += f"; say --decimal {other} if that is its decimal sign"
    return InvalidInputError.at(name, f"column {name[:_SHOWN_CHARS]!r}: expected {spec.dtype}, {shown}")


def _outside(text: str, spec: TensorSpec, name: str) -> InvalidInputError:
    low, high = _limits(spec.dtype)
    detail = f"{text[:_SHOWN_CHARS]} is outside of {spec.dtype}, which holds {low} to {high}"
    return InvalidInputError.at(name, f"column {name[:_SHOWN_CHARS]!r}: {detail}")
