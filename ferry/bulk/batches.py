"""Bulk batches on the asking side, on an event loop: make, read, list, cancel. The API's half."""

import hashlib
import json
import secrets
import uuid
from typing import Any, cast

from ferry.bulk.batch_records import (
    ID_LETTERS,
    ID_PREFIX,
    BatchRecord,
    BatchSpec,
    Opened,
    Part,
    batch_from_fields,
    is_batch_id,
    part_from_text,
)
from ferry.bulk.files import PURPOSE_BATCH
from ferry.errors import NotFoundError
from ferry.queue import keys
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.grouping import Grouping
from ferry.settings import Settings

_ID_LENGTH = 24
# Batches read in one round trip.
MAX_GROUP_READS = 64
_FIELDS = list(keys.BATCH_FIELDS)


def new_batch_id() -> str:
    """Return an id nobody can guess."""
    return ID_PREFIX + "".join(secrets.choice(ID_LETTERS) for _ in range(_ID_LENGTH))


def batch_id_of(text: str) -> str:
    """Return the id that stands for a text: who says the same twice means the same batch."""
    return ID_PREFIX + hashlib.sha256(text.encode("utf-8")).hexdigest()[:_ID_LENGTH]


class Batches:
    """Makes, finds and cancels batches. One per event loop; any number of processes may share a Redis."""

    def __init__(self, client: LoopClient, *, max_open: int, ttl_s: float) -> None:
        """Take at most `max_open` batches at a time; remember one for `ttl_s` after its end."""
        self._redis, self._keys = client.redis, client.keys
        self._max_open = max_open
        self._ttl_ms = int(ttl_s * 1000)
        self._open = client.script("batch_open")
        self._cancel = client.script("batch_cancel")
        # Reads that come together share a round trip.
        self._reads: Grouping[str, BatchRecord | None] = Grouping(self._read, max_items=MAX_GROUP_READS)

    async def open(self, spec: BatchSpec) -> Opened:
        """Take a batch; its file is checked by a worker. Safe to repeat: a known id makes no second one.

        Raises:
            QueueUnavailableError: Redis did not answer; whether it took it is not known, so repeat.
        """
        fields: dict[str, Any] = {
            "endpoint": spec.endpoint, "completion_window": spec.completion_window,
            "metadata": json.dumps(dict(spec.metadata)),
            "output_ttl_s": "" if spec.output_ttl_s is None else spec.output_ttl_s,
        }  # fmt: skip
        earlier = {"retry_output_id": spec.retry_output_id, "retry_error_id": spec.retry_error_id}
        fields |= {name: file_id for name, file_id in earlier.items() if file_id is not None}
        args = [
            spec.id, uuid.uuid4().hex, spec.fingerprint, int(spec.window_s * 1000), self._max_open, self._ttl_ms,
            keys.model_key(spec.model, spec.version), spec.input_file_id, PURPOSE_BATCH,
            spec.owner, spec.limits.packed() if spec.limits else "", spec.files_by or "",
            *(part for pair in fields.items() for part in pair),
        ]  # fmt: skip
        with redis_errors():
            return Opened((await self._open(args=args)).decode("ascii"))

    async def get(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, or None: unknown, or forgotten after its time. One round trip."""
        if not is_batch_id(batch_id):
            return None
        return await self._reads.ask(batch_id)

    async def progress(self, batch_id: str, first: int, n_chunks: int) -> tuple[BatchRecord | None, list[Part | None]]:
        """Return a batch, and what each chunk from `first` on left; None of a chunk that is not settled.

        One look: parts go away in the moment in which a batch becomes terminal.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        if not is_batch_id(batch_id):
            return None, []
        numbers = [str(number) for number in range(first, first + n_chunks)]
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hmget(self._keys.batch + batch_id, _FIELDS)
                pipe.hmget(self._keys.batch_parts + batch_id, numbers)
                values, parts = await pipe.execute()
        found = [None if raw is None else part_from_text(raw.decode("ascii")) for raw in parts]
        return batch_from_fields(batch_id, values), found

    async def list_page(
        self, *, after: str | None = None, limit: int = 20, owner: str | None = None
    ) -> tuple[list[BatchRecord], bool]:
        """Return up to `limit` batches made before the one named, the newest first, and whether more follow.

        `owner` None: everybody's.

        Raises:
            NotFoundError: there is no batch `after`.
        """
        place = self._keys.batches if owner is None else self._keys.batches_by + owner
        with redis_errors():
            start = 0
            if after is not None:
                rank: Any = await self._redis.zrevrank(place, after)
                if rank is None:
                    raise NotFoundError(f"no batch {after[:64]!r} to go on after")
                start = int(rank) + 1
            found: list[BatchRecord] = []
            while len(found) <= limit:
                ids = [
                    cast(bytes, each).decode("ascii")
                    for each in await self._redis.zrange(place, start, start + limit, desc=True)
                ]
                if not ids:
                    break
                records = await self._read(ids)
                found += [record for record in records if record]
                if forgotten := [each for each, record in zip(ids, records, strict=True) if record is None]:
                    await self._redis.zrem(place, *forgotten)
                start += len(ids) - len(forgotten)
        return found[:limit], len(found) > limit

    async def cancel(self, batch_id: str) -> bool | None:
        """Cancel a batch; False: it was on its way to its end already; None: there is none."""
        if not is_batch_id(batch_id):
            return None
        with redis_errors():
            reply = int(await self._cancel(args=[batch_id, uuid.uuid4().hex]))
        return None if reply < 0 else reply == 1

    async def _read(self, ids: list[str]) -> list[BatchRecord | None]:
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for batch_id in ids:
                    pipe.hmget(self._keys.batch + batch_id, _FIELDS)
                    pipe.hvals(self._keys.batch_open + batch_id)
                replies = await pipe.execute()
        parts = zip(ids, replies[::2], replies[1::2], strict=True)
        return [batch_from_fields(batch_id, values, places) for batch_id, values, places in parts]


def batches_of(client: LoopClient, settings: Settings) -> Batches:
    """Return the batches of these settings."""
    return Batches(client, max_open=settings.max_batches, ttl_s=settings.file_ttl_s)
