"""What a log line may hold: no secret, no payload, no control character. Knows no settings and no handlers.

Texts of exceptions are the danger: numpy, pydantic, onnxruntime and JSON parsers quote the values that they refuse. So
a traceback has its frames and the exception's type, and the text only where that text never quotes values.
"""

import re
import traceback
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Number, Real
from pathlib import PurePath
from typing import Any

from ferry.errors import FerryError, InvalidInputError, MalformedRequestError, ModelError

MAX_TEXT = 2_000
MAX_ERROR_TEXT = 300
MAX_FRAMES = 30
MAX_CAUSES = 4
# The ids of the jobs of a batch must all be found.
MAX_ITEMS = 10_000

# C0, DEL, C1, line and paragraph separators, marks and overrides of text direction, lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
# An address, from its scheme's end to the next space.
_ADDRESS = re.compile(r"://\S*")
# The work must be linear in the text, which a client may write: only the last part of a pattern may be of any length.
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)\s{1,64}[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (re.compile(r"(ferry_[0-9a-f]{12}_)[A-Za-z0-9_-]+"), r"\1***"),
    (
        re.compile(
            r"(?i)(?<![a-z0-9])(password|passwd|secret[a-z_-]{0,16}|token|api[_-]?key|access[_-]?key(?:[_-]?id)?)"
            r"(['\"]?\s{0,8}[=:]\s{0,8})[^\s,;&}]+"
        ),
        r"\1\2***",
    ),
)  # fmt: skip
# A text without any of these has no secret in it: the patterns are tried only where one is found.
_SUSPECT = re.compile(r"(?i)ferry_|bearer|basic|://|passw|secret|token|key")

# Their texts name types, attributes, modules and sizes.
_PLAIN_TEXTS: tuple[type[BaseException], ...] = (
    FerryError, ArithmeticError, AttributeError, NameError, ImportError, MemoryError, RecursionError,
)  # fmt: skip
# Errors of ours that say what is wrong with an input, which their texts quote.
_QUOTING = (InvalidInputError, MalformedRequestError, ModelError)
# Celery's names for what a message of it may hold of a task.
_TASK_FIELDS = frozenset({"args", "kwargs", "exc", "traceback", "return_value", "retval"})


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text without secrets, with control characters escaped as Python does, cut to `limit` characters."""
    text = text[: 2 * limit + 4096]
    if _SUSPECT.search(text):
        text = _ADDRESS.sub(_without_secrets, text)
        for pattern, shown in _SECRETS:
            text = pattern.sub(shown, text)
    if not text.isprintable():
        text = _CONTROL.sub(_escaped, text)
    return text if len(text) <= limit else text[:limit] + "..."


def clean(value: Any) -> Any:
    """Return a field of a log line with every text in it cleaned; at most MAX_ITEMS of a list."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Number):  # numpy's, or a decimal
        return _plain_number(value)
    if isinstance(value, str | PurePath):
        return clean_text(str(value))
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_ITEMS]
        return {clean_text(str(name)): clean(each) for name, each in pairs}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value[:MAX_ITEMS]]
    # A representation may hold anything: rows, settings, a request.
    return describe(value) if isinstance(value, BaseException) else f"<{type(value).__name__}>"


def _plain_number(value: Any) -> Any:
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real | Decimal) else f"<{type(value).__name__}>"


def clean_args(args: Any) -> Any:
    """Return the arguments of a log call, cleaned; an error is said as `describe` says it, ours without its type."""
    if isinstance(args, Mapping):
        return {name: "..." if name in _TASK_FIELDS else _argument(value) for name, value in args.items()}
    return tuple(map(_argument, args or ()))


def _argument(value: Any) -> Any:
    if isinstance(value, FerryError) and not isinstance(value, _QUOTING):
        return clean_text(value.detail)
    return clean(value)


def describe(error: BaseException) -> str:
    """Return type and text of an error; where the text may quote a client's values, only the type."""
    name = type(error).__name__
    if isinstance(error, _QUOTING):
        return f"{name} (its text may hold a client's values and is left out)"
    if isinstance(error, FerryError):
        return f"{name}: {clean_text(error.detail, MAX_ERROR_TEXT)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: [Errno {error.errno}] {clean_text(str(error.strerror), MAX_ERROR_TEXT)}"
    if isinstance(error, _PLAIN_TEXTS) or type(error).__module__ == "redis.exceptions":
        return f"{name}: {clean_text(str(error), MAX_ERROR_TEXT)}"
    return f"{type(error).__module__}.{name} (its text may hold a client's values and is left out)"


def plain_traceback(error: BaseException) -> str:
    """Return the traceback of an error with its causes: files, lines and functions, no values; bounded."""
    parts: list[str] = []
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen and len(seen) < MAX_CAUSES:
        seen.add(id(following))
        parts.append(_one_traceback(following))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return "\nwhich was raised after:\n".join(parts)


def error_of(exc_info: Any) -> BaseException | None:
    """Return the exception that a log call was given, in any of the forms that logging knows."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3 and isinstance(exc_info[1], BaseException):
        return exc_info[1]
    return None


def _one_traceback(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    shown = frames if len(frames) <= MAX_FRAMES else frames[: MAX_FRAMES // 2] + frames[-MAX_FRAMES // 2 :]
    lines = ["Traceback (most recent call last):"]
    lines += [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in shown]
    if len(shown) < len(frames):
        lines.insert(1 + MAX_FRAMES // 2, f"  ... {len(frames) - len(shown)} more frames ...")
    lines.append(describe(error))
    if isinstance(error, BaseExceptionGroup):
        lines += [f"  | {describe(each)}" for each in error.exceptions[:MAX_ITEMS]]
    return "\n".join(lines)


def _without_secrets(found: re.Match[str]) -> str:
    """Return an address without user and password, and without its query: that may hold a presigned signature.

    A password may hold any character, so all before the last `@` counts as one.
    """
    _, at, rest = found[0].rpartition("@")
    address = f"://***@{rest}" if at else found[0]
    where, mark, _ = address.partition("?")
    return f"{where}?***" if mark else address


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {10: "\\n", 13: "\\r", 9: "\\t"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
