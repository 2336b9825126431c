"""Erases one owner: jobs, dead letters, batches, files and API keys. Knows neither HTTP nor the command line.

Jobs have no list per owner; their ids begin with the owner's name. So they are found by SCAN, in slices, which costs
Redis some microseconds per key at the request of an admin, and costs a submit nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from redis.exceptions import NoScriptError

from ferry.access import REVOKED_WITHIN_S, ApiKey, check_name
from ferry.bulk.batch_records import folder_of
from ferry.bulk.files import Files
from ferry.errors import ConflictError, QueueUnavailableError
from ferry.job_ids import SEPARATOR
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.key_book import OwnerKeys

# Keys that Redis looks at in one step of a SCAN: about a millisecond.
SCAN_COUNT = 1_000
# Jobs, batches or files erased in one round trip.
SLICE = 100
# A slice that Redis did not answer is done again: a long erasure must not end because a busy server was late once.
TRIES, PAUSE_S = 5, 1.0
# An erasure looks again until it finds nothing: requests under way may add something. More looks than this prove a
# client that still has a key.
MAX_PASSES = 10
# So long after a revocation no API process lets the key in.
REFUSED_AFTER_S = 2 * REVOKED_WITHIN_S


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased of an owner, or would be: numbers. dead_letters are among the jobs."""

    owner: str
    keys: int = 0
    jobs: int = 0
    dead_letters: int = 0
    batches: int = 0
    files: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing."""
        return not (self.keys or self.jobs or self.batches or self.files)

    def plus(self, other: "Erasure") -> "Erasure":
        """Return the sum of both."""
        return Erasure(
            self.owner,
            self.keys + other.keys,
            self.jobs + other.jobs,
            self.dead_letters + other.dead_letters,
            self.batches + other.batches,
            self.files + other.files,
        )


class Eraser:
    """Counts and erases what belongs to an owner. One per event loop."""

    def __init__(
        self, client: LoopClient, files: Files, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._files = files
        self._sleep = sleep
        self._owner_keys = OwnerKeys(client)
        self._delete_job = client.script("delete")
        self._erase_batch = client.script("batch_erase")

    async def count(self, owner: str) -> Erasure:
        """Return what an erasure would erase now.

        Raises:
            InvalidInputError: the owner's name is none.
            QueueUnavailableError: Redis did not answer.
        """
        check_name(owner, "owner")
        jobs = dead = 0
        async for ids in self._scan_jobs(owner):
            jobs, dead = jobs + len(ids), dead + await self._count_dead(ids)
        with redis_errors():
            n_batches = int(await self._redis.zcard(self._keys.batches_by + owner))
            n_files = int(await self._redis.zcard(self._keys.files_by + owner))
        return Erasure(owner, len(await self._owner_keys.of(owner)), jobs, dead, n_batches, n_files)

    async def erase(self, owner: str, *, is_revoking: bool = False) -> Erasure:
        """Erase an owner; returns what there was. Safe to repeat, and to repeat after an error.

        Raises:
            ConflictError: keys of the owner are in force, and `is_revoking` is not set; or a client still adds
                something after MAX_PASSES.
            InvalidInputError: the owner's name is none.
            QueueUnavailableError, StorageError: as named; part of it may be erased.
        """
        check_name(owner, "owner")
        await self._end_keys(owner, is_revoking=is_revoking)
        erased = Erasure(owner)
        for _ in range(MAX_PASSES):
            found = await self._pass(owner)
            erased = erased.plus(found)
            if found.is_empty:
                break
        else:
            raise ConflictError(
                f"owner {owner} still gets new jobs, batches or files after {MAX_PASSES} passes: {erased.jobs} jobs, "
                f"{erased.batches} batches and {erased.files} files are erased, more may be left; find the client that "
                "still sends them (a new key, or an admin's) and erase again"
            )
        return erased.plus(Erasure(owner, keys=await self._owner_keys.forget(owner)))

    async def _end_keys(self, owner: str, *, is_revoking: bool) -> None:
        keys = await self._owner_keys.of(owner)
        in_force = [key.id for key in keys if key.revoked_us is None]
        if in_force and not is_revoking:
            raise ConflictError(
                f"owner {owner} has {len(in_force)} API keys in force ({', '.join(in_force[:5])}); revoke them first, "
                "or ask for both at once (`--revoke`, `?revoke=true`)"
            )
        if in_force:
            await self._owner_keys.revoke(in_force)
        if in_force or await self._is_just_revoked(keys):
            await self._sleep(REFUSED_AFTER_S)  # until no process lets them in any more

    async def _is_just_revoked(self, keys: list[ApiKey]) -> bool:
        if not keys:
            return False
        with redis_errors():
            seconds, micros = await self._redis.time()
        latest_us = max((key.revoked_us for key in keys if key.revoked_us), default=0)
        return seconds * 10**6 + micros - latest_us < REFUSED_AFTER_S * 1e6

    async def _pass(self, owner: str) -> Erasure:
        batches = await self._erase_batches(owner)
        jobs = dead = 0
        async for ids in self._scan_jobs(owner):
            dead += await self._count_dead(ids)
            jobs += await self._erase_jobs(ids)
        await self._erase_inputs(owner)
        return Erasure(owner, 0, jobs, dead, batches, await self._erase_files(owner))

    async def _scan(self, pattern: str) -> AsyncIterator[list[str]]:
        cursor = 0
        while True:
            cursor, found = await self._patiently(partial(self._redis.scan, cursor, match=pattern, count=SCAN_COUNT))
            names = [cast(bytes, each).decode("utf-8") for each in found]
            for start in range(0, len(names), SLICE):
                yield names[start : start + SLICE]
            if not cursor:
                return

    async def _scan_jobs(self, owner: str) -> AsyncIterator[list[str]]:
        # An owner's name has no character that means something in a pattern.
        async for names in self._scan(f"{self._keys.job}{owner}{SEPARATOR}*"):
            yield [name.removeprefix(self._keys.job) for name in names]

    async def _count_dead(self, ids: list[str]) -> int:
        scores = await self._patiently(partial(self._redis.zmscore, self._keys.dead, ids))
        return sum(score is not None for score in scores)

    async def _erase_jobs(self, ids: list[str]) -> int:
        async def erase() -> list[int]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    self._delete_job.queue_in(pipe, [job_id])
                try:
                    return await pipe.execute()
                except NoScriptError:
                    return [await self._delete_job(args=[job_id]) for job_id in ids]  # which loads it

        return sum(map(int, await self._patiently(erase)))

    async def _patiently(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a call returns; where Redis does not answer, try again."""
        for _ in range(TRIES - 1):
            with suppress(QueueUnavailableError), redis_errors():
                return await call()
            await self._sleep(PAUSE_S)
        with redis_errors():
            return await call()

    async def _erase_inputs(self, owner: str) -> None:
        """Delete inputs that were set ahead of a submit which never came."""
        async for names in self._scan(f"{self._keys.input}{owner}{SEPARATOR}*"):
            await self._patiently(partial(self._redis.delete, *names))

    async def _erase_batches(self, owner: str) -> int:
        erased = 0
        while ids := await self._first(self._keys.batches_by + owner):
            for batch_id in ids:
                erased += int(await self._patiently(partial(self._erase_batch, args=[batch_id, owner])))
                await asyncio.to_thread(self._files.storage.delete_folder, folder_of(batch_id))
        return erased

    async def _erase_files(self, owner: str) -> int:
        erased, place = 0, self._keys.files_by + owner
        while ids := await self._first(place):
            for file_id in ids:
                erased += await self._patiently(partial(self._files.delete, file_id))
            await self._patiently(partial(self._redis.zrem, place, *ids))  # those of which only the list still knew
        return erased

    async def _first(self, place: str) -> list[str]:
        found = await self._patiently(partial(self._redis.zrange, place, 0, SLICE - 1))
        return [each.decode("ascii") for each in found]
