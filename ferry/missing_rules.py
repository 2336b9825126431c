"""The rule for missing values of one input: its three forms, and which of them a dtype can have.

Knows dtypes and numbers. Knows nothing of tensors, files or JSON; `ferry.missing` applies the rule.
"""

import numpy as np

from ferry.errors import InvalidInputError

# A job, or a row of a file, with a missing value fails.
REFUSE = "error"
# A missing value goes to the model as NaN.
TO_NAN = "nan"
# Everything else is the value that takes the place of each missing one.
MissingRule = bool | int | float | str

_Number = bool | int | float
_FLOATS = ("float16", "float32", "float64")
_BOOLS = {"true": True, "false": False}


def why_unfit(rule: MissingRule, dtype: str, bounds: tuple[float, float] | None) -> str | None:
    """Return why an input of `dtype`, with values within `bounds`, cannot have the rule; None where it can."""
    if rule == REFUSE:
        return None
    if dtype == "string":
        return _why_no_text(rule)
    if rule == TO_NAN:
        return None if dtype in _FLOATS else f"{dtype} has no NaN; give a value, or error"
    if isinstance(rule, str):
        return f"{rule[:40]!r} is not a value of {dtype}"
    return _why_no_number(rule, dtype) or _why_outside(rule, bounds)


def read_rule(text: str, dtype: str) -> MissingRule:
    """Return the rule that a word of the command line means for an input of `dtype`.

    Raises:
        InvalidInputError: the word is no rule for this dtype.
    """
    if text == REFUSE or dtype == "string":
        return text
    if text.lower() == TO_NAN:
        return TO_NAN
    try:
        if dtype == "bool":
            return _BOOLS[text.lower()]
        return float(text) if dtype in _FLOATS else int(text)
    except (ValueError, KeyError):
        raise InvalidInputError(f"{text[:40]!r} is not error, nan or a value of {dtype}") from None


def _why_no_text(rule: MissingRule) -> str | None:
    if rule == TO_NAN:
        return "text has no NaN; give a text, or error"
    return None if isinstance(rule, str) else f"{rule!r} is not a text"


def _why_no_number(rule: _Number, dtype: str) -> str | None:
    if dtype == "bool" or isinstance(rule, bool):
        return None if dtype == "bool" and isinstance(rule, bool) else f"{rule!r} is not a value of {dtype}"
    if dtype in _FLOATS:
        limit = float(np.finfo(dtype).max)
        return None if abs(rule) <= limit else f"{rule!r} is outside of {dtype}"
    if not isinstance(rule, int):
        return f"{rule!r} is not a value of {dtype}"
    limits = np.iinfo(dtype)
    if limits.min <= rule <= limits.max:
        return None
    return f"{rule} is outside of {dtype}, which holds {limits.min} to {limits.max}"


def _why_outside(rule: float, bounds: tuple[float, float] | None) -> str | None:
    if bounds is None or bounds[0] <= rule <= bounds[1]:
        return None
    return f"{rule:g} is outside of the input's range, {bounds[0]:g} to {bounds[1]:g}"
