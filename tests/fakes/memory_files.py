"""ferry.bulk.files.Files without Redis, on a real storage. The same contract cases run on both."""

import asyncio

from ferry.bulk.files import UPLOAD_MAX_S, FileRecord, key_of, new_file_id
from ferry.bulk.storage import Storage
from ferry.errors import NotFoundError, QueueUnavailableError, StorageError


class MemoryFiles:
    """Files of one process."""

    def __init__(self, storage: Storage, *, max_files: int = 100, ttl_s: float = 600) -> None:
        self.storage = storage
        self.max_files = max_files
        self.ttl_s = ttl_s
        self.now_s = 1_800_000_000.0
        self.is_down = False
        self.reserved: dict[str, float] = {}
        self.records: dict[str, FileRecord] = {}
        self.keyed: dict[str, str] = {}

    def _check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so", retry_after_s=1)

    async def reserve(self) -> str:
        self._check()
        n_files = len(self.reserved) + len(self.records)
        if n_files >= self.max_files:
            raise StorageError(f"there are {n_files} files, the limit is {self.max_files} (FERRY_MAX_FILES)")
        file_id = new_file_id()
        self.reserved[file_id] = self.now_s + UPLOAD_MAX_S
        return file_id

    async def release(self, file_id: str) -> None:
        self._check()
        self.reserved.pop(file_id, None)
        await asyncio.to_thread(self.storage.delete, key_of(file_id))

    async def create(
        self,
        file_id: str,
        *,
        size_bytes: int,
        filename: str,
        purpose: str,
        ttl_s: float | None = None,
        sha256: str = "",
        key: str = "",
        owner: str = "",
    ) -> FileRecord:
        self._check()
        if key and (made := self.records.get(self.keyed.get(key, ""))):
            return made
        if self.reserved.pop(file_id, None) is None:
            raise NotFoundError("given up")
        ends = int(self.now_s + (ttl_s or self.ttl_s))
        record = FileRecord(file_id, size_bytes, int(self.now_s), ends, filename, purpose, sha256=sha256, owner=owner)
        self.records[file_id] = record
        if key:
            self.keyed[key] = file_id
        return record

    async def get(self, file_id: str) -> FileRecord | None:
        self._check()
        return self.records.get(file_id)

    async def list_page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        is_ascending: bool = False,
        purpose: str | None = None,
        owner: str | None = None,
    ) -> tuple[list[FileRecord], bool]:
        self._check()
        found = [
            record
            for record in self.records.values()
            if purpose in (None, record.purpose) and owner in (None, record.owner)
        ]
        if not is_ascending:
            found.reverse()
        ids = [record.id for record in found]
        if after is not None and after not in ids:
            raise NotFoundError(f"no file {after!r}")
        start = 0 if after is None else ids.index(after) + 1
        return found[start : start + limit], len(found) > start + limit

    async def delete(self, file_id: str) -> bool:
        self._check()
        if self.records.pop(file_id, None) is None:
            return False
        await asyncio.to_thread(self.storage.delete, key_of(file_id))
        return True

    async def sweep(self) -> int:
        self._check()
        ends = self.reserved | {record.id: record.expires_at for record in self.records.values()}
        due = [file_id for file_id, end in ends.items() if end <= self.now_s]
        for file_id in due:
            self.records.pop(file_id, None)
            await self.release(file_id)
        return len(due)
