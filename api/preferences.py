"""How long a client wants to wait: `Prefer: wait[=n]` (RFC 7240) or `?wait=n`. Pure functions."""

import re
from functools import lru_cache

from ferry.errors import InvalidInputError

MAX_WAIT_S = 60.0
_WAIT = re.compile(r'\bwait\b(?:\s*=\s*"?(\d{1,6})"?)?', re.ASCII)


@lru_cache(maxsize=256)
def wait_from_prefer(header: str | None, *, default_s: float) -> float | None:
    """Return seconds, 1 to 60; None when the client did not ask to wait. What cannot be read is no preference."""
    for preference in (header or "").lower().split(","):
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(max(float(match[1] or default_s), 1.0), MAX_WAIT_S)
    return None


def wait_from_query(value: str | None) -> float | None:
    """Return seconds; None when the parameter is not there.

    Raises:
        InvalidInputError: not a number from 0 to 60.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        raise InvalidInputError.at("wait", f"wait={value[:40]!r}: expected seconds from 0 to {MAX_WAIT_S:g}")
    return seconds
