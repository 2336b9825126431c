"""Files by id: their records in Redis and their bytes in the storage, made and deleted together.

An id first stands among those to be deleted, then its bytes are written, then its record; deleting goes the other way.
So whoever dies in between leaves an id that the next sweep meets, and no bytes that nobody knows of. The folder of a
bulk batch that is over stands among them too, in case that the worker which ended it did not live to delete it.
"""

import asyncio
import logging
import secrets
import string
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import WatchError

from ferry.bulk.batch_records import folder_of, is_batch_id
from ferry.bulk.storage import Storage
from ferry.errors import FerryError, NotFoundError, QueueUnavailableError, StorageError
from ferry.queue import keys
from ferry.queue.clock import cautious_us, read_clock_async
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.grouping import Grouping
from ferry.queue.keys import Keys
from ferry.settings import Settings

FOLDER = "files/"
PURPOSE_BATCH = "batch"
PURPOSE_BATCH_OUTPUT = "batch_output"
PURPOSES = (PURPOSE_BATCH, PURPOSE_BATCH_OUTPUT)
PROCESSED = "processed"
# Status of a hash before its file is whole; nobody is shown it.
UPLOADING = "uploading"

_ID_PREFIX = "file-"
_ID_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 24
# An upload that takes longer is given up; nobody holds a connection open for a day.
UPLOAD_MAX_S = 86_400
SWEEP_EVERY_S = 30.0
# Files deleted in one round of a sweep; bounds what one round reads and how long it runs.
SWEPT_AT_ONCE = 100
# Records read in one round trip: some 10 ms of an event loop's time, between which others are served.
READ_AT_ONCE = 250
RETRY_AFTER_S = 60
# Tries at a transaction that others may cross; who crosses has made the file that the next try finds.
MOST_TRIES = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is known of a file.

    created_at, expires_at: seconds since 1970, by Redis' clock; filename: as the client gave it, only ever shown;
    sha256: of the bytes, in hex, or empty; owner: who stored it, where API keys are asked for; else empty.
    """

    id: str
    size_bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: str = PROCESSED
    sha256: str = ""
    owner: str = ""


def new_file_id() -> str:
    """Return an id nobody can guess."""
    return _ID_PREFIX + "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))


def is_file_id(text: str) -> bool:
    """Say whether a text may be a file's id."""
    letters = text.removeprefix(_ID_PREFIX)
    return len(letters) == _ID_LENGTH == len(text) - len(_ID_PREFIX) and all(each in _ID_LETTERS for each in letters)


def key_of(file_id: str) -> str:
    """Return where a file's bytes lie in the storage."""
    return FOLDER + file_id


class Files:
    """Makes, finds and deletes files. One per event loop; any number of processes may share Redis and storage."""

    def __init__(self, client: LoopClient, storage: Storage, *, max_files: int, ttl_s: float) -> None:
        self._redis, self._keys = client.redis, client.keys
        self.storage = storage
        self._max_files = max_files
        self._ttl_s = ttl_s
        # Reads that come together share a round trip.
        self._reads: Grouping[str, FileRecord | None] = Grouping(self._read, max_items=READ_AT_ONCE)

    async def reserve(self) -> str:
        """Return the id of a file to be written: bytes first, then `create`; or `release` when nothing comes of it.

        Raises:
            StorageError: there are as many files as there may be.
            QueueUnavailableError: Redis does not answer.
        """
        file_id = new_file_id()
        with redis_errors():
            now_ms = await self._steady_ms()
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(self._keys.file_ends, {file_id: now_ms + UPLOAD_MAX_S * 1000})
                pipe.hset(self._keys.file + file_id, "status", UPLOADING)
                # Without what is due already: that goes by itself, and some of it are folders of batches.
                pipe.zcount(self._keys.file_ends, f"({now_ms}", "+inf")
                n_files = int((await pipe.execute())[-1])
            if n_files <= self._max_files:
                return file_id
            await self._forget(file_id)
        detail = f"there are {n_files - 1} files, the limit is {self._max_files} (FERRY_MAX_FILES); delete some"
        raise StorageError(detail, retry_after_s=RETRY_AFTER_S)

    async def release(self, file_id: str) -> None:
        """Forget a reserved file and delete its bytes.

        Raises:
            QueueUnavailableError, StorageError: as named; a sweep does it later.
        """
        await self._bury(file_id)
        await self._delete_bytes(file_id)

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
        """Make a reserved file, whose bytes are in the storage, known; returns its record.

        Where a file was made under the same `key` before and is still there, that one is returned, and the reserved
        one is to be released.

        Raises:
            NotFoundError: the reservation is gone, since the upload took too long.
            QueueUnavailableError: Redis does not answer.
        """
        with redis_errors():
            now_us = await self._now_us()
            end_us = now_us + int((ttl_s or self._ttl_s) * 1e6)
            record = FileRecord(
                file_id,
                size_bytes,
                now_us // 10**6,
                end_us // 10**6,
                filename,
                purpose,
                PROCESSED,
                sha256,
                owner,
            )
            for _ in range(MOST_TRIES):
                with suppress(WatchError):
                    return await self._publish(record, now_us, end_us, self._keys.file_of_key + key if key else "")
        raise QueueUnavailableError("too many uploads under one Idempotency-Key at once", retry_after_s=1)

    async def _publish(self, record: FileRecord, now_us: int, end_us: int, keyed: str) -> FileRecord:
        place = self._keys.file + record.id
        steady_end_ms = await self._steady_ms() + (end_us - now_us) // 1000
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(place, *([keyed] if keyed else []))  # a sweep deletes it before it deletes the bytes
            if keyed and (other := await pipe.get(keyed)):
                made = await self.get(cast(bytes, other).decode("ascii"))
                if made:
                    return made
            if await pipe.hget(place, "status") != UPLOADING.encode():
                raise NotFoundError(f"the upload took more than {UPLOAD_MAX_S} s and was given up")
            pipe.multi()  # type: ignore[no-untyped-call]
            if keyed:
                pipe.set(keyed, record.id, px=max(1, (end_us - now_us) // 1000))
            pipe.hset(place, mapping=_fields_of(record) | ({"keyed": keyed} if keyed else {}))
            for place in _lists_of(self._keys, record.purpose, record.owner):
                pipe.zadd(place, {record.id: now_us})
            pipe.zadd(self._keys.file_ends, {record.id: steady_end_ms})
            await pipe.execute()
        return record

    async def get(self, file_id: str) -> FileRecord | None:
        """Return a file's record, or None: unknown, deleted or expired."""
        if not is_file_id(file_id):
            return None
        return await self._reads.ask(file_id)

    async def list_page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        is_ascending: bool = False,
        purpose: str | None = None,
        owner: str | None = None,
    ) -> tuple[list[FileRecord], bool]:
        """Return up to `limit` files that come after the one named, and whether more follow; the newest come first.

        `purpose`, `owner` None: of every purpose, everybody's.

        Raises:
            NotFoundError: there is no file `after`.
        """
        if purpose not in (None, *PURPOSES):
            return [], False
        place = _list_of(self._keys, purpose, owner)
        with redis_errors():
            start = 0
            if after is not None:
                rank: Any = await (
                    self._redis.zrank(place, after) if is_ascending else self._redis.zrevrank(place, after)
                )
                if rank is None:
                    raise NotFoundError(f"no file {after[:64]!r} to go on after")
                start = int(rank) + 1
            found: list[FileRecord] = []
            while len(found) <= limit:
                most = min(READ_AT_ONCE, limit + 1 - len(found))
                raw = await self._redis.zrange(place, start, start + most - 1, desc=not is_ascending)
                ids = [cast(bytes, each).decode("ascii") for each in raw]
                records = await self._read(ids) if ids else []
                found += [record for record in records if record]
                # A release before owners deletes files and leaves their ids here.
                if gone := [each for each, record in zip(ids, records, strict=True) if record is None]:
                    await self._redis.zrem(place, *gone)
                if len(ids) < most:
                    break
                start += len(ids) - len(gone)
        return found[:limit], len(found) > limit

    async def _read(self, ids: Sequence[str]) -> list[FileRecord | None]:
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for file_id in ids:
                    pipe.hmget(self._keys.file + file_id, list(keys.FILE_FIELDS))
                replies = await pipe.execute()
        return [_record_of(file_id, values) for file_id, values in zip(ids, replies, strict=True)]

    async def delete(self, file_id: str) -> bool:
        """Delete a file; False: there is none. Where the storage is away the bytes go later."""
        if await self.get(file_id) is None or not await self._bury(file_id):
            return False
        try:
            await self._delete_bytes(file_id)
        except FerryError as error:
            logger.warning("the bytes of %s are deleted later: %s", file_id, error.detail)
        return True

    async def sweep(self) -> int:
        """Delete files whose time is over, and what unfinished uploads and ended batches left; returns how many.

        Safe in any number of processes at once: each step may be done twice.

        Raises:
            QueueUnavailableError, StorageError: as named; the next sweep goes on.
        """
        with redis_errors():
            now_ms = await self._steady_ms()
            due = await self._redis.zrange(self._keys.file_ends, 0, now_ms, byscore=True, offset=0, num=SWEPT_AT_ONCE)
        for raw in due:
            due_id = cast(bytes, raw).decode("ascii")
            if is_batch_id(due_id):
                await self._delete_folder(due_id)
            else:
                await self._bury(due_id)
                await self._delete_bytes(due_id)
        return len(due)

    async def sweep_forever(self) -> None:
        """Sweep now and every SWEEP_EVERY_S."""
        while True:
            try:
                while await self.sweep() == SWEPT_AT_ONCE:
                    pass
            except FerryError as error:
                logger.warning("expired files are deleted later: %s", error.detail)
            except Exception:
                logger.exception("a sweep of expired files failed; the next one is in %s s", SWEEP_EVERY_S)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _bury(self, file_id: str) -> bool:
        """Make a file unknown and its bytes due; False: it was not known."""
        with redis_errors():
            for _ in range(MOST_TRIES):
                with suppress(WatchError):
                    return await self._take_off(file_id)
        raise QueueUnavailableError(f"file {file_id} changes all the time", retry_after_s=1)

    async def _take_off(self, file_id: str) -> bool:
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(self._keys.file + file_id)  # whoever creates it now gives it an owner, and so more lists
            fields: Any = await pipe.hmget(self._keys.file + file_id, ["owner", "keyed"])
            owner, keyed = (each or b"" for each in fields)
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.delete(self._keys.file + file_id, *([keyed] if keyed else []))
            for place in {
                each for purpose in PURPOSES for each in _lists_of(self._keys, purpose, owner.decode("ascii"))
            }:
                pipe.zrem(place, file_id)
            pipe.zadd(self._keys.file_ends, {file_id: 0}, xx=True)
            return bool((await pipe.execute())[0])

    async def _delete_bytes(self, file_id: str) -> None:
        await asyncio.to_thread(self.storage.delete, key_of(file_id))
        with redis_errors():
            await self._forget(file_id)

    async def _delete_folder(self, batch_id: str) -> None:
        await asyncio.to_thread(self.storage.delete_folder, folder_of(batch_id))
        with redis_errors():
            await self._redis.zrem(self._keys.file_ends, batch_id)

    async def _forget(self, file_id: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(self._keys.file + file_id)
            pipe.zrem(self._keys.file_ends, file_id)
            await pipe.execute()

    async def _steady_ms(self) -> int:
        return cautious_us(*await read_clock_async(self._redis, self._keys)) // 1000

    async def _now_us(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 10**6 + int(micros)


def files_of(client: LoopClient, storage: Storage, settings: Settings) -> Files:
    """Return the files of these settings."""
    return Files(client, storage, max_files=settings.max_files, ttl_s=settings.file_ttl_s)


def _fields_of(record: FileRecord) -> dict[Any, Any]:
    values = (
        record.size_bytes, record.created_at, record.expires_at, record.filename, record.purpose, record.status,
        record.sha256, record.owner,
    )  # fmt: skip
    return dict(zip(keys.FILE_FIELDS, values, strict=True))


def _record_of(file_id: str, values: Sequence[Any]) -> FileRecord | None:
    """Return a record from its hash; None while it is being uploaded, and when there is none."""
    *values, owner = values
    if None in values:
        return None
    size, created, expires, filename, purpose, status, sha256 = (each.decode() for each in values)
    # A release before this one kept no owner.
    whose = owner.decode("ascii") if owner else ""
    return FileRecord(file_id, int(size), int(created), int(expires), filename, purpose, status, sha256, whose)


def _list_of(names: Keys, purpose: str | None, owner: str | None) -> str:
    """Return the sorted set of files of a purpose and an owner; None: of every one."""
    if owner is None:
        return names.files if purpose is None else names.files_of + purpose
    return names.files_by + (owner if purpose is None else f"{owner}:{purpose}")


def _lists_of(names: Keys, purpose: str, owner: str) -> list[str]:
    """Return every sorted set that lists a file."""
    lists = [_list_of(names, None, None), _list_of(names, purpose, None)]
    return lists + ([_list_of(names, None, owner), _list_of(names, purpose, owner)] if owner else [])
