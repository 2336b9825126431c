"""What this process counts of its requests.

The counts go to Redis every second, where every API process reads them all: whichever is scraped answers for the fleet,
and a restart loses a second of them.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping

from ferry.errors import FerryError
from ferry.metrics import REQUEST_SECONDS

# What was asked for at no route of ours (a scanner's paths) counts under one name.
ELSEWHERE = "other"
# Refusals that say something of the fleet or its callers; a mistyped id does not.
_COUNTED = frozenset(
    {
        "rate_limited", "queue_full", "queue_draining", "queue_unavailable", "storage_unavailable", "server_busy",
        "no_worker", "wait_timeout", "body_too_large", "body_timeout", "invalid_input", "malformed_request",
        "unauthenticated", "forbidden",
    }
)  # fmt: skip
_BOUNDS = REQUEST_SECONDS.buckets


class Meter:
    """Counts until it is emptied. A field is the words of ferry/queue/statistics.py with spaces between."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._sums: defaultdict[str, float] = defaultdict(float)

    def saw(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        where = f"{method} {route}" if route else f"{method} {ELSEWHERE}"
        self._counts[f"requests {where} {status}"] += 1
        self._counts[f"seconds {where} {bisect_left(_BOUNDS, seconds)}"] += 1
        self._sums[f"seconds_sum {where}"] += seconds

    def refused(self, error: FerryError) -> None:
        """Count a refusal."""
        if error.code in _COUNTED:
            self._counts[f"rejected {error.code}"] += 1

    def cut_off(self, reason: str) -> None:
        """Count a connection that was refused or cut off."""
        self._counts[f"connections {reason}"] += 1

    def take(self) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """Return what was counted since the last time: numbers, and sums."""
        counts, sums = self._counts, self._sums
        self._counts, self._sums = Counter(), defaultdict(float)
        return counts, sums

    def give_back(self, counts: Mapping[str, int], sums: Mapping[str, float]) -> None:
        """Take back what could not be handed on."""
        self._counts.update(counts)
        for field, total in sums.items():
            self._sums[field] += total
