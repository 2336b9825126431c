"""Honest clients: how long health and a waited-for job take, on connections that are kept."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import httpx

# A probe that has waited this long is counted with this time.
TIMEOUT_S = 30.0


class Probe:
    """Asks again and again, in a thread of its own."""

    def __init__(self, ask: Callable[[httpx.Client], httpx.Response], url: str, *, every_s: float) -> None:
        self._ask = ask
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._every_s = every_s
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._seconds: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def take(self) -> dict[str, object]:
        """Return what was seen since the last time: milliseconds and statuses.

        A probe waits for one answer at a time, so a long wait counts as one: look at the largest, too.
        """
        with self._lock:
            seconds, self._seconds = sorted(self._seconds), []
            statuses, self._statuses = self._statuses, Counter()
        if not seconds:
            return {"n": 0}
        p50, p99 = (seconds[math.ceil(len(seconds) * share) - 1] for share in (0.5, 0.99))
        return {
            "n": len(seconds), "p50_ms": round(p50 * 1000, 2), "p99_ms": round(p99 * 1000, 2),
            "max_ms": round(seconds[-1] * 1000, 2), "statuses": dict(statuses),
        }  # fmt: skip

    def stop(self) -> None:
        """End it."""
        self._is_over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._is_over.wait(self._every_s):
            began = time.perf_counter()
            status = "no answer"
            with suppress(httpx.TransportError):
                status = str(self._ask(self._client).status_code)
            with self._lock:
                self._statuses[status] += 1
                self._seconds.append(time.perf_counter() - began)
