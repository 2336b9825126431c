"""What stands in Redis at the end of a run: the jobs' records, and what is left once all have been aged."""

from collections.abc import Callable, Sequence
from typing import cast

import redis

from ferry.jobs import JobRecord
from ferry.queue import keys
from ferry.queue.records import record_from_fields
from tests.chaos.redis_part import PartError, wait_for
from tests.namespaces import KEYS

AT_ONCE = 500
# Within this long of its jobs' forgetting Redis is empty: the keeper comes by every second.
EMPTIES_S = 15.0
# What stays for as long as there are models and workers, whatever jobs there were.
_STAYS = (
    KEYS.models,
    KEYS.model,
    KEYS.live,
    KEYS.counts,
    KEYS.tally,
    KEYS.keeper,
    KEYS.clock,
    KEYS.memory,
    f"{KEYS.prefix}_kombu.",
)

_FORGET_SOON = "if redis.call('PTTL', KEYS[1]) > 0 then redis.call('PEXPIRE', KEYS[1], 1) end"


def read_records(client: "redis.Redis", ids: Sequence[str]) -> dict[str, JobRecord | None]:
    """Return the jobs' records, None where there is none."""
    records: dict[str, JobRecord | None] = {}
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for job_id in some:
                pipe.hmget(KEYS.job + job_id, list(keys.FIELDS))
            replies = pipe.execute()
        records.update(
            (job_id, record_from_fields(job_id, values)) for job_id, values in zip(some, replies, strict=True)
        )
    return records


def age(client: "redis.Redis") -> None:
    """Let all the time go by for which records and dead letters are kept. What has no such time stays."""
    for prefix in (KEYS.job, KEYS.input):
        with client.pipeline(transaction=False) as pipe:
            for key in _keys(client, f"{prefix}*"):
                # PEXPIRE with XX came with Redis 7.
                pipe.eval(_FORGET_SOON, 1, key)
            pipe.execute()
    if dead := cast(list[bytes], client.zrange(KEYS.dead, 0, -1)):
        client.zadd(KEYS.dead, dict.fromkeys(dead, 1), xx=True)


def leftovers(client: "redis.Redis") -> dict[str, str]:
    """Return what is left in Redis after EMPTIES_S at most, by key: its type and a piece of it."""
    try:
        wait_for(lambda: not _unexpected(client), EMPTIES_S, "Redis is empty")
    except PartError:
        return {key: describe(client, key) for key in _unexpected(client)}
    return {}


def state_of_queue(client: "redis.Redis", ids: Sequence[str]) -> str:
    """Return all that tells why jobs do not end: their hashes, and every key that is not of another job."""
    others = [key for key in _keys(client) if not key.startswith((KEYS.job, KEYS.input))]
    return "\n".join(f"{key}: {describe(client, key)}" for key in (*(KEYS.job + job_id for job_id in ids), *others))


def describe(client: "redis.Redis", key: str) -> str:
    """Return a key's type and the beginning of what it holds."""
    kind = cast(bytes, client.type(key)).decode()
    read: dict[str, Callable[[], object]] = {
        "string": lambda: client.get(key), "hash": lambda: client.hgetall(key), "set": lambda: client.smembers(key),
        "list": lambda: client.lrange(key, 0, 9), "zset": lambda: client.zrange(key, 0, 9, withscores=True),
        "stream": lambda: client.xrange(key, count=9),
    }  # fmt: skip
    value = read.get(kind, lambda: "?")()
    return f"{kind}, ttl {client.pttl(key)} ms, {str(value)[:600]}"


def _unexpected(client: "redis.Redis") -> list[str]:
    return [key for key in _keys(client) if not key.startswith(_STAYS)]


def _keys(client: "redis.Redis", pattern: str = "*") -> list[str]:
    return sorted(cast(bytes, key).decode() for key in client.scan_iter(pattern, count=1_000))
