"""Jobs sent over HTTP while the stack is scaled and broken, and what became of each."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

# A row of the stand-by model is known by its brightness, so that a result can be told from another's.
ROWS = [[[round(level / 20, 2)] * 28] * 28 for level in range(20)]
THREADS = 8
# A client of a stack that is being broken tries again for this long.
PATIENCE_S = 120.0
READ_AT_ONCE = 4
GATE_S = 0.05


class Load:
    """Sends `n_jobs` under keys of its own, each again until it is accepted; then reads them all."""

    def __init__(self, url: str, key: str, n_jobs: int, *, per_s: float, seed: int = 1) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._n_jobs = n_jobs
        self._gap_s = THREADS / per_s
        self._levels = random.Random(seed).choices(range(len(ROWS)), k=n_jobs)
        self._accepted: dict[int, str] = {}
        self._next = iter(range(n_jobs))
        self._lock = threading.Lock()
        self._n_allowed = n_jobs
        self.retries = 0

    def allow(self, share: float) -> None:
        """Send so much of the jobs and no more, so that some are left to be sent while the next part is broken."""
        self._n_allowed = min(self._n_jobs, int(share * self._n_jobs))

    @property
    def n_accepted(self) -> int:
        return len(self._accepted)

    def send(self) -> None:
        """Send every job; returns when each was accepted."""
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(self._send_some) for _ in range(THREADS)]:
                done.result()

    def _send_some(self) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=10) as client:
            due = time.monotonic()
            while True:
                with self._lock:
                    number = next(self._next, None)
                if number is None:
                    return
                while number >= self._n_allowed:
                    time.sleep(GATE_S)
                    due = time.monotonic()
                body = {"version": "mnist", "input": {"x": ROWS[self._levels[number]]}}
                self._accepted[number] = self._insist(client, number, body)
                due += self._gap_s
                time.sleep(max(0.0, due - time.monotonic()))

    def _insist(self, client: httpx.Client, number: int, body: dict[str, Any]) -> str:
        """Return the id of a job, which is sent again under the same key until it is accepted."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = client.post("/v1/predictions", json=body, headers={"Idempotency-Key": f"load-{number}"})
                if answer.status_code in (200, 201, 202):
                    return str(answer.json()["id"])
                reason = answer.text[:300]
                assert answer.status_code >= 500, reason
            except httpx.TransportError as error:
                reason = repr(error)
            assert time.monotonic() < give_up, f"job {number} was not accepted within {PATIENCE_S} s: {reason}"
            self.retries += 1
            time.sleep(0.2)

    def outcomes(self, *, give_up_s: float) -> Counter[str]:
        """Wait for the end of every job; returns how many ended how: `lost` is unknown, `wrong` another's result."""
        give_up = time.monotonic() + give_up_s
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            shares = [range(first, self._n_jobs, READ_AT_ONCE) for first in range(READ_AT_ONCE)]
            read = list(pool.map(lambda share: self._ends_of(share, give_up), shares))
        ends = [read[number % READ_AT_ONCE][number // READ_AT_ONCE] for number in range(self._n_jobs)]
        by_level: dict[int, str] = {}
        counted: Counter[str] = Counter()
        for level, (state, label) in zip(self._levels, ends, strict=True):
            is_wrong = state == "succeeded" and by_level.setdefault(level, label) != label
            counted["wrong" if is_wrong else state] += 1
        return counted

    def _ends_of(self, numbers: range, give_up: float) -> list[tuple[str, str]]:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=30) as client:
            return [self._end_of(client, number, give_up) for number in numbers]

    def _end_of(self, client: httpx.Client, number: int, give_up: float) -> tuple[str, str]:
        while True:
            try:
                answer = client.get(f"/v1/predictions/{self._accepted[number]}")
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 404:
                return "lost", ""
            if answer is not None and answer.status_code == 200:
                job = answer.json()
                if job["completed_at"]:
                    return job["state"], repr(job["output"])
            if time.monotonic() > give_up:
                return "unfinished", ""
            time.sleep(0.2)
