"""Counters that say what waits are counted again from time to time, a bounded slice a call; for the leader's thread.

A counter drifts where a key is lost or removed by hand, by an eviction, or by a fault of ours. What waits is the truth.
The backlog of a model that changes all the time is counted when it is short; until then only its lower bound is held.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any, cast

from ferry.queue.clock import Clock
from ferry.queue.connection import ThreadClient, redis_errors

# Entries of a stream, or jobs of a key, that one call looks at: some 2 ms of Redis.
SLICE = 1000
# Many keys make a long pass. Models do not wait for its end: they are counted again this often.
MODELS_EVERY_S = 60.0

logger = logging.getLogger(__name__)


class Recount:
    """One pass after another over every counter; each `step` is a slice of a model and one of a key."""

    def __init__(
        self, client: ThreadClient, holder: str, *, slice_size: int = SLICE, clock: Clock = time.monotonic
    ) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._script = client.script("recount")
        self._holder = holder
        self._slice = slice_size
        self._clock = clock
        self._models: Iterator[None] | None = None
        self._limits: Iterator[None] | None = None
        # When the models begin again in this pass; None before a pass.
        self._models_due: float | None = None

    def step(self) -> bool:
        """Count one slice of each; returns whether the pass goes on.

        Raises:
            QueueUnavailableError: Redis did not answer; the next step begins a new pass.
        """
        models, limits, due = self._models, self._limits, self._models_due
        self._models = self._limits = self._models_due = None
        now = self._clock()
        if due is None:
            limits = self._over_keys()
        if due is None or (models is None and now >= due):
            models, due = self._over_models(), now + MODELS_EVERY_S
        with redis_errors():
            models, limits = _advanced(models), _advanced(limits)
        if models is None and limits is None:
            return False
        self._models, self._limits, self._models_due = models, limits, due
        return True

    def _over_models(self) -> Iterator[None]:
        models = sorted(cast(set[bytes], self._redis.smembers(self._keys.models)))
        for model in models:
            yield from self._model(model.decode("ascii"))
        self._report("total", "all models", self._script(args=[self._holder, "total"]))
        yield

    def _over_keys(self) -> Iterator[None]:
        """Go over the API keys with unfinished jobs, by one round trip for all keys."""
        ids = cast(list[bytes], self._redis.zrange(self._keys.api_keys, 0, -1))
        with self._redis.pipeline(transaction=False) as pipe:
            for key in ids:
                pipe.exists(self._keys.unfinished + key.decode("ascii"))
            found = pipe.execute()
        for key, has_unfinished in zip(ids, found, strict=True):
            if has_unfinished:
                yield from self._key(key.decode("ascii"))

    def _model(self, model: str) -> Iterator[None]:
        so_far: list[Any] = [1, "-", 0, 0, ""]
        while True:
            reply = self._script(args=[self._holder, "model", model, self._slice, *so_far])
            self._report("backlog", model, reply)
            yield
            if reply[0] != b"more":
                return
            so_far = reply[3:]

    def _key(self, key: str) -> Iterator[None]:
        cursor: Any = 0
        while True:
            reply = self._script(args=[self._holder, "key", key, cursor, self._slice])
            self._report("unfinished", key, reply)
            yield
            if reply[0] != b"more":
                return
            cursor = reply[3]

    def _report(self, counter: str, whose: str, reply: Any) -> None:
        rows, size = int(reply[1]), int(reply[2])
        if rows or size:
            logger.warning(
                "counter_drift: %s of %s was wrong by %+d (bytes: %+d) and is put right", counter, whose, rows, size
            )


def _advanced(slices: Iterator[None] | None) -> Iterator[None] | None:
    """Count one slice; returns the rest, None where there is none."""
    for _ in slices or ():
        return slices
    return None
