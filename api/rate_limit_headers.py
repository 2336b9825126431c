"""`RateLimit-Policy` and `RateLimit`: what the limits of an API key are, and how much of them is left.

Source: draft-ietf-httpapi-ratelimit-headers (structured fields; policies are named). Knows no queue.
"""

import math
from functools import lru_cache

from ferry.jobs import JobLimits, LimitsLeft

RATE, UNFINISHED = '"rate"', '"unfinished"'


@lru_cache(maxsize=1024)
def policy_header(limits: JobLimits) -> tuple[bytes, bytes]:
    """Return what a key may do: `"rate";q=50;w=1`, `"unfinished";q=1000;qu="concurrent-requests"`.

    Units: q jobs within w seconds. Up to a second's worth of jobs may come together; below one a second it is one.
    """
    parts = []
    if limits.rate_per_s:
        parts.append(f"{RATE};q={max(1, int(limits.rate_per_s))};w={max(1, math.ceil(1 / limits.rate_per_s))}")
    if limits.max_unfinished:
        parts.append(f'{UNFINISHED};q={limits.max_unfinished};qu="concurrent-requests"')
    return b"ratelimit-policy", ", ".join(parts).encode("ascii")


def left_header(left: LimitsLeft) -> tuple[bytes, bytes]:
    """Return what is left now: `"rate";r=0;t=3, "unfinished";r=7`. Units: r jobs, t seconds until there is one more."""
    parts = []
    if left.rate is not None:
        wait = f";t={max(1, math.ceil(left.wait_ms / 1000))}" if not left.rate else ""
        parts.append(f"{RATE};r={left.rate}{wait}")
    if left.unfinished is not None:
        parts.append(f"{UNFINISHED};r={left.unfinished}")
    return b"ratelimit", ", ".join(parts).encode("ascii")
