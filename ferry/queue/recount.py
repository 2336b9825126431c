"""Counters that say what waits are counted again from time to time, a bounded slice a call; for the leader's thread.

A counter drifts where a key is lost or removed by hand, by an eviction, or by a fault of ours. What waits is the truth.
The backlog of a model that changes all the time is counted when it is short; until then only its lower bound is held.
"""

import logging
from collections.abc import Iterator
from typing import Any, cast

from ferry.queue.connection import ThreadClient, redis_errors

# Entries of a stream, or jobs of a key, that one call looks at: some 2 ms of Redis.
SLICE = 1000
NOT_LEADING = -1

logger = logging.getLogger(__name__)


class Recount:
    """One pass after another over every counter; each `step` is one call."""

    def __init__(self, client: ThreadClient, holder: str, *, slice_size: int = SLICE) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._script = client.script("recount")
        self._holder = holder
        self._slice = slice_size
        self._pass: Iterator[None] | None = None

    def step(self) -> bool:
        """Count one slice; returns whether the pass goes on.

        Raises:
            QueueUnavailableError: Redis did not answer; the next step begins a new pass.
        """
        going, self._pass = self._pass or self._steps(), None
        with redis_errors():
            for _ in going:
                self._pass = going
                return True
        return False

    def _steps(self) -> Iterator[None]:
        models = sorted(cast(set[bytes], self._redis.smembers(self._keys.models)))
        for model in models:
            yield from self._model(model.decode("ascii"))
        self._report("total", "all models", self._script(args=[self._holder, "total"]))
        yield
        for key in cast(list[bytes], self._redis.zrange(self._keys.api_keys, 0, -1)):
            yield from self._key(key.decode("ascii"))

    def _model(self, model: str) -> Iterator[None]:
        so_far: list[Any] = [1, "-", 0, 0, ""]
        while True:
            reply = self._script(args=[self._holder, "model", model, self._slice, *so_far])
            yield
            if reply[0] != b"more":
                self._report("backlog", model, reply)
                return
            so_far = reply[1:]

    def _key(self, key: str) -> Iterator[None]:
        cursor: Any = 0
        while True:
            reply = self._script(args=[self._holder, "key", key, cursor, self._slice])
            yield
            if reply[0] != b"more":
                self._report("unfinished", key, reply)
                return
            cursor = reply[1]

    def _report(self, counter: str, whose: str, reply: Any) -> None:
        if reply[0] == b"done" and (int(reply[1]) or int(reply[2])):
            logger.warning(
                "counter_drift: %s of %s was too high by %d (bytes: %d) and is right again",
                counter, whose, int(reply[1]), int(reply[2]),
            )  # fmt: skip
