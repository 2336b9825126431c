"""API keys in Redis: made, found, listed, replaced and revoked. The operator's commands write, API processes read."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from redis.exceptions import WatchError

from ferry.access import ApiKey, Scope, digest_of, new_token
from ferry.errors import ConflictError, NotFoundError
from ferry.queue.clock import Reading, read_clock, shown_us, steady_us
from ferry.queue.connection import LoopClient, ThreadClient, redis_errors
from ferry.queue.grouping import Grouping

# Requests whose keys are read in one round trip.
MAX_GROUP_KEYS = 256

logger = logging.getLogger(__name__)


class _KeyRecords:
    """Takes the records of keys apart. One that is damaged counts as unknown and is logged once."""

    def __init__(self) -> None:
        self._damaged: set[str] = set()

    def key_of(self, key_id: str, fields: Mapping[bytes, bytes], clock: Reading) -> ApiKey | None:
        """Return a key, or None where there is none or its record is damaged."""
        try:
            return _key(key_id, fields, clock)
        except (KeyError, ValueError) as error:
            if key_id not in self._damaged:
                self._damaged.add(key_id)
                logger.warning(
                    "key_damaged: the record of API key %s cannot be read (%s), so the key is refused; make a new one "
                    "with `ferry keys create`",
                    key_id, type(error).__name__,
                )  # fmt: skip
            return None


class KeyBook:
    """The operator's side."""

    def __init__(self, client: ThreadClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._records = _KeyRecords()

    def create(
        self,
        name: str,
        *,
        owner: str,
        scopes: frozenset[Scope],
        rate_per_s: float | None = None,
        max_unfinished: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns it and its text, which is kept nowhere.

        Raises:
            QueueUnavailableError: Redis did not answer; what it may have stored nobody has the secret of.
        """
        key_id, secret, text = new_token()
        with redis_errors():
            seconds, micros = self._redis.time()
            made = ApiKey(
                key_id, name, owner, scopes, digest_of(secret), seconds * 1_000_000 + micros, rate_per_s, max_unfinished
            )
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._keys.api_key + key_id, mapping=_fields(made))
                pipe.zadd(self._keys.api_keys, {key_id: made.created_us})
                pipe.execute()
        return made, text

    def rotate(self, key_id: str, *, overlap_s: float) -> tuple[ApiKey, ApiKey, str]:
        """Replace a key: a new one of the same name, owner, scopes and limits; the old one ends after `overlap_s`.

        Both count against the same limits. Returns the old key, the new one and the new one's text, which is kept
        nowhere.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: it is revoked, or was replaced before.
        """
        name = self._keys.api_key + key_id
        new_id, secret, text = new_token()
        with redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(name)  # type: ignore[no-untyped-call]
            (seconds, micros), steps = clock = read_clock(self._redis, self._keys)
            now_us, ends_us = seconds * 1_000_000 + micros, steady_us(*clock) + int(overlap_s * 1e6)
            fields = cast(dict[bytes, bytes], pipe.hgetall(name))
            old = self._records.key_of(key_id, fields, clock)
            if old is None:
                raise NotFoundError(f"no API key {key_id[:40]!r}; `ferry keys list` shows their ids")
            if old.revoked_us is not None or old.ends_us is not None:
                raise ConflictError(f"key {old.id} is revoked or was replaced before; rotate the key that replaced it")
            made = replace(
                old, id=new_id, digest=digest_of(secret), created_us=now_us, limited_as=old.limited_as or old.id
            )
            ending = replace(old, ends_us=shown_us(ends_us, steps))
            pipe.multi()
            pipe.hset(name, "ends_us", str(ends_us))
            pipe.hset(self._keys.api_key + new_id, mapping=_fields(made))
            pipe.zadd(self._keys.api_keys, {new_id: made.created_us})
            try:
                pipe.execute()
            except WatchError:
                raise ConflictError(f"key {old.id} was changed at the same time; look at `ferry keys list`") from None
        return ending, made, text

    def list_all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, the oldest first."""
        with redis_errors():
            ids = [each.decode("ascii") for each in cast(list[bytes], self._redis.zrange(self._keys.api_keys, 0, -1))]
            with self._redis.pipeline(transaction=False) as pipe:
                for key_id in ids:
                    pipe.hgetall(self._keys.api_key + key_id)
                pipe.time()
                pipe.get(self._keys.clock)
                *found, wall, steps = pipe.execute()
        keys = (self._records.key_of(key_id, fields, (wall, steps)) for key_id, fields in zip(ids, found, strict=True))
        return [key for key in keys if key]

    def revoke(self, key_id: str) -> ApiKey:
        """End a key; jobs it made stay its owner's. Revoked again it stays as it was.

        Raises:
            NotFoundError: there is no such key.
        """
        name = self._keys.api_key + key_id
        with redis_errors():
            if not self._redis.exists(name):
                raise NotFoundError(f"no API key {key_id[:40]!r}; `ferry keys list` shows their ids")
            (seconds, micros), _ = clock = read_clock(self._redis, self._keys)
            self._redis.hsetnx(name, "revoked_us", str(seconds * 1_000_000 + micros))
            fields = cast(dict[bytes, bytes], self._redis.hgetall(name))
        revoked = self._records.key_of(key_id, fields, clock)
        if revoked is None:
            raise NotFoundError(f"no API key {key_id[:40]!r}")
        return revoked


class KeyReader:
    """The API's side: one key at a time, on an event loop."""

    def __init__(self, client: LoopClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._records = _KeyRecords()
        self._finds: Grouping[str, ApiKey | None] = Grouping(self._find_many, max_items=MAX_GROUP_KEYS)

    async def find(self, key_id: str) -> ApiKey | None:
        """Return a key, or None; a revoked one says so itself.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        return await self._finds.ask(key_id)

    async def _find_many(self, key_ids: Sequence[str]) -> list[ApiKey | None]:
        """Read each key once, in one round trip: a busy client asks for the same one many times at once."""
        distinct = list(dict.fromkeys(key_ids))
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for key_id in distinct:
                    pipe.hgetall(self._keys.api_key + key_id)
                pipe.time()
                pipe.get(self._keys.clock)
                *replies, wall, steps = await pipe.execute()
        found = {
            key_id: self._records.key_of(key_id, fields, (wall, steps))
            for key_id, fields in zip(distinct, replies, strict=True)
        }
        return [found[key_id] for key_id in key_ids]


class OwnerKeys:
    """The keys of one owner, on an event loop: for an erasure."""

    def __init__(self, client: LoopClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._reader = KeyReader(client)

    async def of(self, owner: str) -> list[ApiKey]:
        """Return every key of an owner, revoked ones too.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        with redis_errors():
            ids = [cast(bytes, each).decode("ascii") for each in await self._redis.zrange(self._keys.api_keys, 0, -1)]
        found = await asyncio.gather(*map(self._reader.find, ids))
        return [key for key in found if key and key.owner == owner]

    async def revoke(self, key_ids: Sequence[str]) -> None:
        """End keys now. Raises as `of`."""
        with redis_errors():
            seconds, micros = await self._redis.time()
            async with self._redis.pipeline(transaction=True) as pipe:
                for key_id in key_ids:
                    pipe.hsetnx(self._keys.api_key + key_id, "revoked_us", str(seconds * 1_000_000 + micros))
                await pipe.execute()

    async def forget(self, owner: str) -> int:
        """Delete the records of an owner's revoked keys, and what is counted against their limits. Raises as `of`."""
        gone = [key for key in await self.of(owner) if key.revoked_us is not None]
        if not gone:
            return 0
        ids = [key.id for key in gone]
        limited = {key.limited_as or key.id for key in gone} | set(ids)
        names = [self._keys.api_key + key_id for key_id in ids]
        names += [place + each for each in limited for place in (self._keys.unfinished, self._keys.rate)]
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(*names)
                pipe.zrem(self._keys.api_keys, *ids)
                await pipe.execute()
        return len(ids)


def _fields(key: ApiKey) -> dict[Any, Any]:
    fields: dict[Any, Any] = {
        "name": key.name, "owner": key.owner, "scopes": ",".join(sorted(key.scopes)), "sha256": key.digest,
        "created_us": str(key.created_us),
    }  # fmt: skip
    if key.rate_per_s is not None:
        fields["rate_per_s"] = repr(key.rate_per_s)
    if key.max_unfinished is not None:
        fields["max_unfinished"] = str(key.max_unfinished)
    if key.limited_as:
        fields["limited_as"] = key.limited_as
    return fields


def _key(key_id: str, fields: Mapping[bytes, bytes], clock: Reading) -> ApiKey | None:
    """Read a key; one whose time is over by the steady time (ferry/queue/clock.py) is revoked.

    Its end is kept in steady time, and returned as Redis' clock shows it.

    Raises:
        KeyError, ValueError: the record is damaged: a field is missing, or is not what it should be.
    """
    if b"name" not in fields:  # a field may have been set of a key that was forgotten in that moment
        return None
    told = {name.decode("ascii"): value.decode("utf-8") for name, value in fields.items()}
    known = set(Scope)
    steady_end_us = int(told["ends_us"]) if "ends_us" in told else None
    ends_us = None if steady_end_us is None else shown_us(steady_end_us, clock[1])
    revoked_us = int(told["revoked_us"]) if "revoked_us" in told else None
    if revoked_us is None and steady_end_us is not None and steady_end_us <= steady_us(*clock):
        revoked_us = ends_us
    return ApiKey(
        id=key_id,
        name=told["name"],
        owner=told["owner"],
        # What a newer Ferry may have added says nothing here.
        scopes=frozenset(Scope(each) for each in told["scopes"].split(",") if each in known),
        digest=told["sha256"],
        created_us=int(told["created_us"]),
        rate_per_s=float(told["rate_per_s"]) if "rate_per_s" in told else None,
        max_unfinished=int(told["max_unfinished"]) if "max_unfinished" in told else None,
        revoked_us=revoked_us,
        ends_us=ends_us,
        limited_as=told.get("limited_as", ""),
    )
