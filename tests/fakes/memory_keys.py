"""ferry.queue.key_book without Redis: the operator's side and the API's in one. The same contract cases run on both."""

from dataclasses import replace

from ferry.access import ApiKey, Scope, digest_of, new_token
from ferry.errors import ConflictError, NotFoundError


class MemoryKeys:
    """Keys of one process."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000
        self.kept: dict[str, ApiKey] = {}

    def create(
        self,
        name: str,
        *,
        owner: str,
        scopes: frozenset[Scope],
        rate_per_s: float | None = None,
        max_unfinished: int | None = None,
    ) -> tuple[ApiKey, str]:
        key_id, secret, text = new_token()
        self.now_us += 1
        made = ApiKey(key_id, name, owner, scopes, digest_of(secret), self.now_us, rate_per_s, max_unfinished)
        self.kept[key_id] = made
        return made, text

    def rotate(self, key_id: str, *, overlap_s: float) -> tuple[ApiKey, ApiKey, str]:
        old = self._now(key_id)
        if old is None:
            raise NotFoundError(f"no API key {key_id!r}")
        if old.revoked_us is not None or old.ends_us is not None:
            raise ConflictError(f"key {key_id} is revoked or was replaced before")
        new_id, secret, text = new_token()
        self.now_us += 1
        made = replace(
            old, id=new_id, digest=digest_of(secret), created_us=self.now_us, limited_as=old.limited_as or old.id
        )
        self.kept[key_id] = replace(old, ends_us=self.now_us + int(overlap_s * 1e6))
        self.kept[new_id] = made
        return self.kept[key_id], made, text

    def _now(self, key_id: str) -> ApiKey | None:
        """A key as it stands now: one whose time is over is revoked."""
        key = self.kept.get(key_id)
        if key and key.revoked_us is None and key.ends_us is not None and key.ends_us <= self.now_us:
            return replace(key, revoked_us=key.ends_us)
        return key

    def list_all(self) -> list[ApiKey]:
        return [key for key_id in self.kept if (key := self._now(key_id))]

    def revoke(self, key_id: str) -> ApiKey:
        if key_id not in self.kept:
            raise NotFoundError(f"no API key {key_id!r}")
        self.now_us += 1
        if self.kept[key_id].revoked_us is None:
            self.kept[key_id] = replace(self.kept[key_id], revoked_us=self.now_us)
        return self.kept[key_id]

    async def find(self, key_id: str) -> ApiKey | None:
        return self._now(key_id)
