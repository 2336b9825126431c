"""Bulk batches on a small Ferry of a test's own, without an API: store a file, open a batch, read what it comes to."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np

from ferry.bulk.batch_records import BatchRecord, BatchSpec, Opened
from ferry.bulk.batches import Batches, new_batch_id
from ferry.bulk.files import Files, key_of
from ferry.bulk.storage import Storage
from ferry.queue.connection import connect_async
from ferry.settings import NAMESPACE
from tests.integration.sites import Site
from tests.namespaces import KEYS, client_of
from tests.processes import eventually

T = TypeVar("T")
TOY = "/v2/models/toy/infer"


class BulkDesk:
    """What a client does, by way of the product's own parts."""

    def __init__(self, site: Site, storage: Storage) -> None:
        self._site = site
        self.storage = storage

    def store(self, data: bytes, filename: str) -> str:
        """Store a file; returns its id."""

        async def store(files: Files, _: Batches) -> str:
            file_id = await files.reserve()
            with self.storage.create(key_of(file_id)) as upload:
                upload.write(data)
            await files.create(file_id, size_bytes=len(data), filename=filename, purpose="batch")
            return file_id

        return self._with_redis(store)

    def store_rows(self, rows: np.ndarray) -> str:
        """Store an array; returns its file's id."""
        file = io.BytesIO()
        np.save(file, rows)
        return self.store(file.getvalue(), "rows.npy")

    def open(self, file_id: str, endpoint: str = TOY, model: str = "toy", **metadata: str) -> str:
        """Open a batch; returns its id."""
        return self._open(BatchSpec(new_batch_id(), model, "1", endpoint, file_id, 3600, "1h", metadata))

    def retry(self, earlier: BatchRecord) -> str:
        """Open a batch that runs the failed rows of another again; returns its id."""
        spec = BatchSpec(
            new_batch_id(), earlier.model, earlier.version, earlier.endpoint, earlier.input_file_id, 3600, "1h",
            {**earlier.metadata, "retry_of": earlier.id}, retry_output_id=earlier.output_file_id,
            retry_error_id=earlier.error_file_id,
        )  # fmt: skip
        return self._open(spec)

    def _open(self, spec: BatchSpec) -> str:
        eventually(
            lambda: self._with_redis(lambda _, batches: batches.open(spec)) in (Opened.ACCEPTED, Opened.EXISTS),
            "the batch is accepted",
        )
        return spec.id

    def record(self, batch_id: str) -> BatchRecord:
        """Read a batch."""
        record = self._with_redis(lambda _, batches: batches.get(batch_id))
        assert record is not None
        return record

    def ended(self, batch_id: str) -> BatchRecord:
        """Return a batch when it is terminal."""
        eventually(lambda: self.record(batch_id).status.is_terminal, f"{batch_id} is over")
        return self.record(batch_id)

    def cancel(self, batch_id: str) -> bool | None:
        """Cancel a batch."""
        return self._with_redis(lambda _, batches: batches.cancel(batch_id))

    def delete_file(self, file_id: str) -> None:
        """Delete a file and its bytes."""
        assert self._with_redis(lambda files, _: files.delete(file_id))

    def expire(self, batch_id: str) -> None:
        """Let a batch's completion window be over."""
        self._site.direct.zadd(KEYS.batch_ends, {batch_id: 1})

    def bytes_of(self, file_id: str | None) -> bytes:
        """Return a file's bytes; none of no file."""
        if file_id is None:
            return b""
        with self.storage.open(key_of(file_id)) as file:
            return file.read()

    def output(self, record: BatchRecord) -> np.ndarray:
        """Return the output of a batch over an array."""
        return np.load(io.BytesIO(self.bytes_of(record.output_file_id)), allow_pickle=False)

    def errors(self, record: BatchRecord) -> list[dict[str, Any]]:
        """Return the lines of the error file."""
        return [json.loads(line) for line in self.bytes_of(record.error_file_id).splitlines()]

    def leftovers(self) -> list[str]:
        """Return what Redis holds of batches beside their records."""
        found = [
            *self._site.direct.scan_iter(match=f"{KEYS.job}batch_*"),
            *self._site.direct.scan_iter(match=f"{KEYS.claim}*"),
        ]
        for prefix in (KEYS.batch_open, KEYS.batch_parts, KEYS.backlog, KEYS.steps_alone):
            found += self._site.direct.scan_iter(match=f"{prefix}*")
        return found + self._site.direct.zrange(KEYS.leases, 0, -1) + self._site.direct.zrange(KEYS.batch_ends, 0, -1)

    def _with_redis(self, action: Callable[[Files, Batches], Awaitable[T]]) -> T:
        async def act() -> T:
            redis = connect_async(self._site.redis.url, NAMESPACE).redis
            try:
                files = Files(client_of(redis), self.storage, max_files=1000, ttl_s=3600)
                return await action(files, Batches(client_of(redis), max_open=100, ttl_s=3600))
            finally:
                await redis.aclose(close_connection_pool=True)

        return asyncio.run(act())
