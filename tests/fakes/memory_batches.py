"""ferry.bulk.batches.Batches without Redis, beside the files and the queue in memory.

The same contract cases run on both. No worker takes part: a test says with `change` what one would have done.
"""

from dataclasses import replace
from typing import Any

from ferry.bulk.batch_records import BatchRecord, BatchSpec, BatchStatus, Opened, Part
from ferry.bulk.files import PURPOSE_BATCH
from ferry.errors import NotFoundError, QueueUnavailableError
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.memory_queue import MemoryQueue


class MemoryBatches:
    """Batches of one process."""

    def __init__(self, files: MemoryFiles, queue: MemoryQueue, *, max_open: int = 100) -> None:
        self.files = files
        self.queue = queue
        self.max_open = max_open
        self.is_down = False
        self.records: dict[str, BatchRecord] = {}
        self.fingerprints: dict[str, str] = {}
        self.limited_by: dict[str, str] = {}
        self.parts: dict[str, dict[int, Part]] = {}

    def _check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so", retry_after_s=1)

    async def open(self, spec: BatchSpec) -> Opened:
        self._check()
        if spec.id in self.records:
            return Opened.EXISTS if self.fingerprints[spec.id] == spec.fingerprint else Opened.DIFFERS
        lane = self.queue.lanes.get((spec.model, spec.version))
        if lane is None:
            return Opened.UNREGISTERED
        if lane.is_draining:
            return Opened.DRAINING
        file = self.files.records.get(spec.input_file_id)
        if file is None or spec.files_by not in (None, file.owner):
            return Opened.NO_FILE
        if file.purpose != PURPOSE_BATCH:
            return Opened.WRONG_PURPOSE
        if sum(not record.status.is_terminal for record in self.records.values()) >= self.max_open:
            return Opened.FULL
        if spec.limits:
            mine = [batch_id for batch_id, key_id in self.limited_by.items() if key_id == spec.limits.key_id]
            also = sum(not self.records[batch_id].status.is_terminal for batch_id in mine)
            if over := self.queue.over(spec.limits, also):
                return Opened(over[0].value)
            self.limited_by[spec.id] = spec.limits.key_id
        now_us = self.queue.now_us
        self.fingerprints[spec.id] = spec.fingerprint
        self.records[spec.id] = BatchRecord(
            spec.id, BatchStatus.VALIDATING, spec.model, spec.version, spec.endpoint, spec.input_file_id,
            file.filename, file.size_bytes, spec.completion_window, dict(spec.metadata), now_us,
            now_us + int(spec.window_s * 1e6), output_ttl_s=spec.output_ttl_s,
            owner=spec.owner, retry_output_id=spec.retry_output_id, retry_error_id=spec.retry_error_id,
        )  # fmt: skip
        return Opened.ACCEPTED

    def change(self, batch_id: str, **changes: Any) -> BatchRecord:
        """Play the worker, the keeper or the time."""
        self.records[batch_id] = replace(self.records[batch_id], **changes)
        return self.records[batch_id]

    async def get(self, batch_id: str) -> BatchRecord | None:
        self._check()
        return self.records.get(batch_id)

    async def progress(self, batch_id: str, first: int, n_chunks: int) -> tuple[BatchRecord | None, list[Part | None]]:
        self._check()
        record, parts = self.records.get(batch_id), self.parts.get(batch_id, {})
        if record is not None and record.status.is_terminal:
            parts = {}
        return record, [parts.get(number) for number in range(first, first + n_chunks)]

    async def list_page(
        self, *, after: str | None = None, limit: int = 20, owner: str | None = None
    ) -> tuple[list[BatchRecord], bool]:
        self._check()
        found = [record for record in reversed(self.records.values()) if owner in (None, record.owner)]
        ids = [record.id for record in found]
        if after is not None and after not in ids:
            raise NotFoundError(f"no batch {after[:64]!r} to go on after")
        start = 0 if after is None else ids.index(after) + 1
        return found[start : start + limit], len(found) > start + limit

    async def cancel(self, batch_id: str) -> bool | None:
        self._check()
        record = self.records.get(batch_id)
        if record is None:
            return None
        if record.ending or record.status not in (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS):
            return False
        now_us, ending = self.queue.now_us, BatchStatus.CANCELLED
        self.change(batch_id, status=BatchStatus.CANCELLING, cancelling_us=now_us, ending=ending)
        if record.chunks is None:  # nobody looked at its file yet
            self.change(batch_id, status=ending, cancelled_us=now_us)
        return True
