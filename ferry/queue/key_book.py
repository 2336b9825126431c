"""API keys in Redis: made, looked up, listed and revoked. The operator's commands write, every API process reads."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ferry.access import ApiKey, Scope, digest_of, new_token
from ferry.errors import NotFoundError
from ferry.queue.connection import LoopClient, ThreadClient, redis_errors
from ferry.queue.grouping import Grouping

# Requests whose keys are read in one round trip.
MAX_GROUP_KEYS = 256


class KeyBook:
    """The operator's side."""

    def __init__(self, client: ThreadClient) -> None:
        self._redis, self._keys = client.redis, client.keys

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

    def list_all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, the oldest first."""
        with redis_errors():
            ids = [each.decode("ascii") for each in cast(list[bytes], self._redis.zrange(self._keys.api_keys, 0, -1))]
            with self._redis.pipeline(transaction=False) as pipe:
                for key_id in ids:
                    pipe.hgetall(self._keys.api_key + key_id)
                found = pipe.execute()
        return [key for key_id, fields in zip(ids, found, strict=True) if (key := _key(key_id, fields))]

    def revoke(self, key_id: str) -> ApiKey:
        """End a key; jobs it made stay its owner's. Revoked again it stays as it was.

        Raises:
            NotFoundError: there is no such key.
        """
        name = self._keys.api_key + key_id
        with redis_errors():
            if not self._redis.exists(name):
                raise NotFoundError(f"no API key {key_id[:40]!r}; `ferry keys list` shows their ids")
            seconds, micros = self._redis.time()
            self._redis.hsetnx(name, "revoked_us", str(seconds * 1_000_000 + micros))
            fields = cast(dict[bytes, bytes], self._redis.hgetall(name))
        revoked = _key(key_id, fields)
        if revoked is None:
            raise NotFoundError(f"no API key {key_id[:40]!r}")
        return revoked


class KeyReader:
    """The API's side: one key at a time, on an event loop."""

    def __init__(self, client: LoopClient) -> None:
        self._redis, self._keys = client.redis, client.keys
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
                replies = await pipe.execute()
        found = {key_id: _key(key_id, fields) for key_id, fields in zip(distinct, replies, strict=True)}
        return [found[key_id] for key_id in key_ids]


def _fields(key: ApiKey) -> dict[Any, Any]:
    fields: dict[Any, Any] = {
        "name": key.name, "owner": key.owner, "scopes": ",".join(sorted(key.scopes)), "sha256": key.digest,
        "created_us": str(key.created_us),
    }  # fmt: skip
    if key.rate_per_s is not None:
        fields["rate_per_s"] = repr(key.rate_per_s)
    if key.max_unfinished is not None:
        fields["max_unfinished"] = str(key.max_unfinished)
    return fields


def _key(key_id: str, fields: Mapping[bytes, bytes]) -> ApiKey | None:
    if not fields:
        return None
    told = {name.decode("ascii"): value.decode("utf-8") for name, value in fields.items()}
    known = set(Scope)
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
        revoked_us=int(told["revoked_us"]) if "revoked_us" in told else None,
    )
