"""The namespace of tests that need no other, and clients for it."""

from typing import TypeVar

import redis
import redis.asyncio

from ferry.queue.connection import QueueClient
from ferry.queue.keys import Keys
from ferry.settings import NAMESPACE

KEYS = Keys(NAMESPACE)

AnyRedis = TypeVar("AnyRedis", redis.Redis, redis.asyncio.Redis)


def client_of(connected: AnyRedis) -> QueueClient[AnyRedis]:
    """Return the queue's client that uses a Redis client."""
    return QueueClient(connected, KEYS)
