"""Whether this Redis keeps waiting jobs: its eviction policy and its persistence. Read only, for an event loop.

INFO says most of it. Whether RDB snapshots are on stands in CONFIG alone, which managed services refuse, each with a
message of its own: then what is not known is called unknown, and is no fault.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from ferry.errors import QueueUnavailableError
from ferry.queue.connection import LoopClient, redis_errors

NOEVICTION = "noeviction"
AOF, RDB, NONE, UNKNOWN = "aof", "rdb", "none", "unknown"
# An answer serves health checks and scrapes for this long.
FRESH_S = 10.0
# A change that an operator makes live is logged after this at the latest.
LOOK_EVERY_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisSafety:
    """eviction: maxmemory-policy, or unknown. persistence: aof, rdb, none or unknown."""

    eviction: str
    persistence: str

    @property
    def faults(self) -> tuple[str, ...]:
        """What may lose jobs, each with its remedy; empty where nothing is known to."""
        found = []
        if self.eviction not in (NOEVICTION, UNKNOWN):
            found.append(
                f"maxmemory-policy is {self.eviction}: a full Redis deletes waiting jobs; set it to {NOEVICTION}"
            )
        if self.persistence == NONE:
            found.append("neither AOF nor RDB is on: a restart of Redis loses every job; set appendonly yes")
        return tuple(found)


class SafetyReader:
    """Asks Redis, every FRESH_S at most."""

    def __init__(self, client: LoopClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = client.redis
        self._clock = clock
        self._last: tuple[float, RedisSafety] | None = None

    async def read(self) -> RedisSafety:
        """Return how safe this Redis is.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        if self._last is None or self._clock() - self._last[0] >= FRESH_S:
            self._last = (self._clock(), await self._ask())
        return self._last[1]

    async def _ask(self) -> RedisSafety:
        memory, persistence = await self._info("memory"), await self._info("persistence")
        eviction = str(memory.get("maxmemory_policy", UNKNOWN))
        aof = persistence.get("aof_enabled")
        if aof:
            return RedisSafety(eviction, AOF)
        snapshots = await self._snapshots()
        if snapshots:
            return RedisSafety(eviction, RDB)
        return RedisSafety(eviction, UNKNOWN if aof is None or snapshots is None else NONE)

    async def _info(self, section: str) -> Mapping[str, Any]:
        try:
            with redis_errors():
                known: Mapping[str, Any] = await self._redis.info(section)
        except redis.ResponseError:
            return {}
        return known

    async def _snapshots(self) -> bool | None:
        """Say whether RDB snapshots are on; None where CONFIG is refused."""
        try:
            with redis_errors():
                setting = await self._redis.config_get("save")
        except redis.ResponseError:
            return None
        return bool(setting["save"]) if "save" in setting else None


async def log_faults(safety: SafetyReader) -> None:
    """Log at once, and whenever it changes, what may lose jobs."""
    said: RedisSafety | None = None
    while True:
        try:
            now = await safety.read()
        except QueueUnavailableError:
            await asyncio.sleep(FRESH_S)
            continue
        except Exception:
            # Without this task no later change would be logged.
            logger.exception("how safe this Redis is cannot be read")
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        if now != said:
            if now.faults:
                logger.warning("redis_unsafe: %s", "; ".join(now.faults))
            elif UNKNOWN in (now.eviction, now.persistence):
                logger.info("redis_safety: eviction policy %s, persistence %s", now.eviction, now.persistence)
            said = now
        await asyncio.sleep(LOOK_EVERY_S)
