"""What a worker keeps of a batch that it works on: its record, rules, formats, and how it meets the storage.

A storage that is away for a moment is waited for, between interludes; who waits is served meanwhile.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from ferry.bulk.batch_records import BatchRecord, index_key, prepared_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.base import Chunk, Format, Limits, Rules
from ferry.bulk.formats.reading import read_options
from ferry.bulk.formats.registry import format_named
from ferry.bulk.storage import Storage
from ferry.errors import NotFoundError, StorageError
from ferry.manifest import Manifest
from ferry.profile import BatchLimits, Profile
from worker.bulk.interludes import Interlude

# A chunk takes about this long at most, so that progress shows and little is done twice.
CHUNK_S = 0.5
# Where nothing is known of a model's speed a chunk is so many of its batches.
CHUNK_BATCHES = 16
STORAGE_PATIENCE_S = 60.0
STORAGE_RETRY_S = 1.0
# Batches that a worker remembers; they are small.
REMEMBERED = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkedBatch:
    """A batch whose file is known: how it is read and written."""

    record: BatchRecord
    rules: Rules
    source: Format
    target: Format


def rules_of(
    record: BatchRecord, manifest: Manifest, *, limits: BatchLimits, profile: Profile | None, chunk_bytes: int
) -> Rules:
    """Return what a batch's file is checked against and how it is cut."""
    return Rules(
        manifest,
        endpoint="infer" if record.endpoint.startswith("/v2/") else "predictions",
        url=record.endpoint,
        limits=Limits(),
        chunk_rows=_chunk_rows(limits, profile),
        chunk_bytes=chunk_bytes,
        join=tuple(name for name in record.metadata.get("join", "").split(",") if name),
        batch_id=record.id.removeprefix("batch_"),
        escape_formulas=record.metadata.get("csv_escape_formulas") == "true",
        errors_inline=record.metadata.get("errors") == "inline",
        reading=read_options(record.metadata),
    )


def _chunk_rows(limits: BatchLimits, profile: Profile | None) -> int:
    if profile is None:
        return limits.max_rows * CHUNK_BATCHES
    row_us = profile.b_us + profile.a_us / limits.max_rows
    return max(1, int(CHUNK_S * 1e6 / max(row_us, 0.1)))


class BatchFiles:
    """Batches at hand, and their input in the storage."""

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.storage = storage
        self._clock = clock
        self._sleep = sleep
        self._known: OrderedDict[str, WorkedBatch] = OrderedDict()

    def worked(
        self, record_of: Callable[[], BatchRecord], rules: Callable[[BatchRecord], Rules], batch_id: str
    ) -> WorkedBatch:
        """Return a batch whose file was indexed; what is said of it then never changes."""
        if batch_id not in self._known:
            record = record_of()
            if record.format is None or record.output_format is None:
                raise ValueError(f"{batch_id} has no index")
            source = format_named(record.format)
            target = source if record.output_format == record.format else format_named(record.output_format)
            self._known[batch_id] = WorkedBatch(record, rules(record), source, target)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(batch_id)
        return self._known[batch_id]

    def forget(self, batch_id: str) -> None:
        """Drop what this process knows of a batch."""
        self._known.pop(batch_id, None)

    def open_input(self, record: BatchRecord, interlude: Interlude) -> BinaryIO:
        """Open a batch's input file, or its copy where one was prepared.

        Raises:
            NotFoundError: it was deleted.
            StorageError: the storage is away for too long.
        """
        key = prepared_key(record.id) if record.is_prepared else key_of(record.input_file_id)
        return self.patiently(interlude, lambda: self.storage.open(key))

    def chunk(self, record: BatchRecord, number: int, interlude: Interlude) -> Chunk:
        """Return a chunk's record, from the index that was written when the file was checked."""
        start = number * record.width
        raw = self.patiently(
            interlude, lambda: self.storage.read_range(index_key(record.id), start, start + record.width)
        )
        return Chunk.from_dict(json.loads(raw))

    def write_index(self, batch_id: str, chunks: tuple[Chunk, ...], interlude: Interlude) -> int:
        """Write all chunks' records, each as long as the longest; returns that length in bytes."""
        records = [json.dumps(chunk.to_dict(), separators=(",", ":")).encode("utf-8") for chunk in chunks]
        width = max(map(len, records))
        self.write(index_key(batch_id), b"".join(record.ljust(width) for record in records), interlude)
        return width

    def write(self, key: str, data: bytes | memoryview, interlude: Interlude, *, is_lasting: bool = True) -> None:
        """Write a file whole; unless it is lasting, a power cut may take it.

        Raises:
            StorageError: the storage is full, or away for too long.
        """

        def write() -> None:
            with self.storage.create(key, is_lasting=is_lasting) as upload:
                upload.write(data)

        self.patiently(interlude, write)

    def patiently(self, interlude: Interlude, action: Callable[[], T]) -> T:
        """Do something, again and again while the storage fails, for STORAGE_PATIENCE_S.

        Raises:
            NotFoundError: as the action does, at once.
            StorageError: as the action does, at last.
        """
        give_up = self._clock() + STORAGE_PATIENCE_S
        while True:
            try:
                return action()
            except NotFoundError:
                raise
            except StorageError:
                if self._clock() >= give_up:
                    raise
            retry = self._clock() + STORAGE_RETRY_S
            while self._clock() < retry:
                interlude.pause_if_due()
                self._sleep(min(0.01, STORAGE_RETRY_S))
