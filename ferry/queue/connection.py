"""Connections to Redis with every wait bounded, the keys that go with them, and its errors in Ferry's words.

redis-py 8 by default waits 5 s and repeats a command ten times, which replays writes; Ferry says each bound itself.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from ferry.errors import QueueUnavailableError
from ferry.queue.keys import Keys, keys_at
from ferry.queue.pool import FairPool, PoolExhaustedError
from ferry.queue.scripts import Script

CONNECT_TIMEOUT_S = 1.0
CALL_TIMEOUT_S = 1.0
POOL_SIZE = 32
HEALTH_CHECK_S = 15
RETRY_AFTER_S = 1
# Error codes of a Redis that says no today and yes tomorrow.
_FOR_NOW = re.compile(r"\b(READONLY|LOADING|MASTERDOWN|NOREPLICAS|BUSY)\b")
# uvloop says this, as a RuntimeError, where Redis goes between a connect and a command; redis-py passes it through.
_CLOSED = "the handler is closed"

_BOUNDS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": CALL_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": HEALTH_CHECK_S,
    "decode_responses": False,
}


AnyRedis = TypeVar("AnyRedis", redis.Redis, redis.asyncio.Redis)


@dataclass(frozen=True, slots=True)
class QueueClient(Generic[AnyRedis]):
    """A Redis client, and the keys of the one Ferry it is for."""

    redis: AnyRedis
    keys: Keys

    def script(self, name: str) -> Script:
        """Return a script that works on these keys; see `ferry/queue/lua/`."""
        return Script(self.redis, name, self.keys)


ThreadClient = QueueClient[redis.Redis]
LoopClient = QueueClient[redis.asyncio.Redis]


def connect_async(url: str, namespace: str) -> LoopClient:
    """Return a client for an event loop, for the Ferry called `namespace`. Connects at the first command."""
    pool = FairPool.from_url(url, max_connections=POOL_SIZE, retry=redis.asyncio.retry.Retry(NoBackoff(), 0), **_BOUNDS)
    return QueueClient(redis.asyncio.Redis(connection_pool=pool), keys_at(url, namespace))


def connect(url: str, namespace: str) -> ThreadClient:
    """Return a client for threads, for the Ferry called `namespace`. Connects at the first command."""
    return QueueClient(redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_BOUNDS), keys_at(url, namespace))


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn redis-py's errors into QueueUnavailableError; errors in our own scripts pass through.

    Raises:
        QueueUnavailableError: Redis refuses, is silent, is loading, is full or cannot write its AOF.
    """
    try:
        yield
    except PoolExhaustedError as error:
        raise QueueUnavailableError(f"{error}; send it again", retry_after_s=RETRY_AFTER_S) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError, TimeoutError) as error:
        raise QueueUnavailableError(
            f"Redis does not answer: {_first_line(error)}", retry_after_s=RETRY_AFTER_S
        ) from error
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        raise QueueUnavailableError(
            "Redis does not answer: the connection was closed", retry_after_s=RETRY_AFTER_S
        ) from error
    except redis.ResponseError as error:
        reason = _refusal(error)
        if reason is None:
            raise
        raise QueueUnavailableError(reason, retry_after_s=RETRY_AFTER_S) from error


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _refusal(error: redis.ResponseError) -> str | None:
    # redis-py takes the code off the message where it has a class for it; in a script's error (Redis 6) it stays.
    message = str(error)
    if isinstance(error, redis.OutOfMemoryError) or "OOM" in message:
        return "Redis has no memory left; finished jobs free it as they expire"
    if "MISCONF" in message:
        return "Redis cannot write its append-only file; see its log (a full disk?)"
    if isinstance(error, redis.exceptions.MasterDownError | redis.ReadOnlyError) or _FOR_NOW.search(message):
        return "Redis does not take writes at the moment"
    return None
