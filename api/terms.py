"""On what terms a job is submitted: by when it must be done, and before whom it goes. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ferry.errors import InvalidInputError
from ferry.jobs import JobClass
from ferry.manifest import MAX_DEADLINE_S

CANCEL_AFTER, PRIORITY = "cancel-after", "priority"
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_URGENCY = re.compile(r"(?:^|,)\s*u\s*=\s*([0-7])\s*(?:[,;]|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Terms:
    """deadline_s: seconds from now after which the job is canceled; None is the model's, or the setting's."""

    deadline_s: float | None = None
    job_class: JobClass = JobClass.NORMAL


ORDINARY = Terms()


def terms_from_headers(headers: Mapping[str, str]) -> Terms:
    """Read `Cancel-After` (Replicate) and `Priority` (RFC 9218).

    Raises:
        InvalidInputError: a `Cancel-After` that is no time. What `Priority` says and we do not know is no preference.
    """
    cancel_after, priority = headers.get(CANCEL_AFTER), headers.get(PRIORITY)
    if cancel_after is None and priority is None:
        return ORDINARY
    return Terms(deadline_from_header(cancel_after), class_from_header(priority))


@lru_cache(maxsize=256)
def deadline_from_header(value: str | None) -> float | None:
    """Return the seconds of "90s", "1.5m", "2h", "200ms" or "90".

    Raises:
        InvalidInputError: it is none of these, or beyond MAX_DEADLINE_S.
    """
    if value is None:
        return None
    match = _DURATION.fullmatch(value.strip())
    seconds = float(match[1]) * _SECONDS[match[2] or ""] if match else 0.0
    if not 0 < seconds <= MAX_DEADLINE_S:
        limit = f"{MAX_DEADLINE_S // 3600}h"
        detail = f"Cancel-After: {value[:40]!r} is no time; expected 90s, 5m, 2h or 200ms, up to {limit}"
        raise InvalidInputError.at("Cancel-After", detail)
    return seconds


@lru_cache(maxsize=64)
def class_from_header(value: str | None) -> JobClass:
    """Return the class of an urgency: u=0 to 2 is high, 3 (the default) to 5 normal, 6 and 7 bulk."""
    match = _URGENCY.search(value or "")
    urgency = int(match[1]) if match else 3
    if urgency <= 2:
        return JobClass.HIGH
    return JobClass.NORMAL if urgency <= 5 else JobClass.BULK


_KEY = re.compile(r'"([\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})', re.ASCII)


def key_from_header(value: str | None) -> str | None:
    """Return an `Idempotency-Key`, with or without its quotes.

    Raises:
        InvalidInputError: it is empty, too long or not of visible ASCII.
    """
    if value is None:
        return None
    match = _KEY.fullmatch(value.strip())
    if not match:
        raise InvalidInputError.at("Idempotency-Key", "expected 1 to 255 visible ASCII characters, quoted or not")
    return match[1] or match[2]


def terms_from_parameters(parameters: Mapping[str, object], else_: Terms) -> Terms:
    """Read the Open Inference Protocol's `priority` and `timeout`; what is not said there is as in `else_`.

    priority: 1 is high, 2 normal, 3 and above bulk, 0 no preference. timeout: microseconds, 0 is none.

    Raises:
        InvalidInputError: with a pointer to the parameter at fault.
    """
    priority, timeout = parameters.get("priority", 0), parameters.get("timeout", 0)
    for name, number in (("priority", priority), ("timeout", timeout)):
        if type(number) is not int or number < 0:
            raise InvalidInputError.at(f"#/parameters/{name}", "expected a whole number, 0 or more")
    if isinstance(timeout, int) and timeout > MAX_DEADLINE_S * 10**6:
        raise InvalidInputError.at("#/parameters/timeout", f"expected up to {MAX_DEADLINE_S * 10**6} microseconds")
    classes = {0: else_.job_class, 1: JobClass.HIGH, 2: JobClass.NORMAL}
    job_class = classes.get(priority, JobClass.BULK) if isinstance(priority, int) else else_.job_class
    deadline_s = timeout / 1e6 if isinstance(timeout, int) and timeout else else_.deadline_s
    return Terms(deadline_s, job_class)
