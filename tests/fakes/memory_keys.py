"""ferry.queue.key_book without Redis: the operator's side and the API's in one. The same contract cases run on both."""

from dataclasses import replace

from ferry.access import ApiKey, Scope, digest_of, new_token
from ferry.errors import NotFoundError


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

    def list_all(self) -> list[ApiKey]:
        return list(self.kept.values())

    def revoke(self, key_id: str) -> ApiKey:
        if key_id not in self.kept:
            raise NotFoundError(f"no API key {key_id!r}")
        self.now_us += 1
        if self.kept[key_id].revoked_us is None:
            self.kept[key_id] = replace(self.kept[key_id], revoked_us=self.now_us)
        return self.kept[key_id]

    async def find(self, key_id: str) -> ApiKey | None:
        return self.kept.get(key_id)
