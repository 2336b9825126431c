"""Which versions of a model are meant and which are served: aliases, and what is unloaded. The operator's side.

An alias (`latest`, `stable`, any other word) stands for a version until it is moved; the queue remembers where it stood
before, so that one command goes back. What is unloaded stays so over restarts, until it is loaded.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from ferry.errors import ConflictError, InvalidInputError, NotFoundError
from ferry.queue.connection import ThreadClient, redis_errors
from ferry.queue.keys import model_key

# What a plain name means; the highest version, unless it was moved.
LATEST = "latest"
_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,31}", re.ASCII)


def is_alias(text: str) -> bool:
    """Say whether a text can be an alias; a number is a version."""
    return _ALIAS.fullmatch(text) is not None


def aliases_from_fields(fields: Mapping[bytes, bytes]) -> dict[tuple[str, str], str]:
    """Return versions by (name, alias); what cannot be read, a newer release's say, is left out."""
    aliases = {}
    for raw_field, raw_value in fields.items():
        name, _, alias = raw_field.decode("utf-8").rpartition(":")
        version = raw_value.decode("utf-8").partition(" ")[0]
        if name and version.isdecimal():
            aliases[name, alias] = version
    return aliases


@dataclass(frozen=True, slots=True)
class Move:
    """Where an alias stood and stands; empty where it stood for nothing."""

    before: str
    now: str


class Versions:
    """Moves aliases, loads and unloads."""

    def __init__(self, client: ThreadClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._alias = client.script("alias")

    def aliases(self) -> dict[tuple[str, str], str]:
        """Return versions by (name, alias)."""
        with redis_errors():
            return aliases_from_fields(cast(dict[bytes, bytes], self._redis.hgetall(self._keys.aliases)))

    def move(self, name: str, alias: str, version: str) -> Move:
        """Let an alias stand for a version; jobs submitted from then on go there, those that wait stay where they are.

        Raises:
            InvalidInputError: that cannot be an alias.
            NotFoundError: the queue knows no such version.
        """
        if not is_alias(alias):
            detail = f"alias {alias[:40]!r}: expected 1 to 32 of a-z, 0-9, '.', '_' and '-', the first a letter"
            raise InvalidInputError(detail)
        verdict, move = self._call(name, alias, version)
        if verdict == "unknown":
            raise NotFoundError(f"the queue knows no model {name}:{version}; `ferry queue list` shows what it knows")
        return move

    def roll_back(self, name: str, alias: str) -> Move:
        """Let an alias stand for what it stood for before its last move; again goes forth again.

        Raises:
            ConflictError: it never was moved.
        """
        verdict, move = self._call(name, alias, "")
        if verdict == "nothing":
            raise ConflictError(f"{alias} of {name} was never moved; there is nothing to go back to")
        return move

    def unload(self, models: Iterable[tuple[str, str]]) -> None:
        """Let workers drop versions and load them no more; jobs for them are still accepted, and wait."""
        with redis_errors():
            self._redis.sadd(self._keys.unloaded, *(model_key(*model) for model in models))

    def load(self, models: Iterable[tuple[str, str]]) -> None:
        """Take back `unload`."""
        with redis_errors():
            self._redis.srem(self._keys.unloaded, *(model_key(*model) for model in models))

    def unloaded(self) -> frozenset[tuple[str, str]]:
        """Return (name, version) of what is unloaded."""
        with redis_errors():
            return models_from_keys(cast(set[bytes], self._redis.smembers(self._keys.unloaded)))

    def _call(self, name: str, alias: str, version: str) -> tuple[str, Move]:
        with redis_errors():
            verdict, before, now = cast(list[bytes], self._alias(args=[name, alias, version]))
        return verdict.decode("ascii"), Move(before.decode("ascii"), now.decode("ascii"))


def models_from_keys(found: Iterable[bytes]) -> frozenset[tuple[str, str]]:
    """Return (name, version) of `name:version` each."""
    pairs = (each.decode("utf-8").rpartition(":") for each in found)
    return frozenset((name, version) for name, _, version in pairs)
