"""The last step of a batch: its output and its error file, in the order of the input, from what its chunks left.

Rows of chunks that were never run, or were given up, get a line in the error file; so each row stands exactly once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

from ferry.bulk.batch_records import BatchStatus, Part, folder_of, part_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.base import Chunk, ChunkRows, Opener, PartResult, RowFault, unrun_faults
from ferry.bulk.formats.error_lines import assemble_errors
from ferry.bulk.formats.merging import Merge, NewRows, merge_into
from ferry.bulk.steps import Held, MadeFile, StepOutcome, Steps, assembled
from ferry.errors import InvalidInputError, NotFoundError
from ferry.jobs import WORKER_LOST
from ferry.tensors import Array
from worker.bulk.batch_files import BatchFiles, WorkedBatch
from worker.bulk.chunks import RunChunk, read_chunk, store_chunk, to_store, together
from worker.bulk.group_runs import SERVER_ERROR
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import PoliteWriter, polite_reader
from worker.bulk.retries import (
    PLACE_BYTES,
    n_earlier_rows,
    open_earlier,
    places_from_bytes,
    replaces_rows,
    unread_rows,
)

ERRORS_SUFFIX = ".jsonl"

logger = logging.getLogger(__name__)
# Why a row was never run, by what the batch ends as.
_UNRUN = {
    BatchStatus.CANCELLED: ("batch_cancelled", "the batch was cancelled before this row was run"),
    BatchStatus.EXPIRED: ("batch_expired", "the batch's completion window closed before this row was run"),
    BatchStatus.FAILED: ("batch_failed", "the batch failed before this row was run; its `errors` say why"),
}


@dataclass(frozen=True, slots=True)
class Assembly:
    """One batch's assembly."""

    held: Held
    batch: WorkedBatch
    ending: BatchStatus
    files: BatchFiles
    steps: Steps
    interlude: Interlude
    ttl_s: float
    rerun: Callable[[int], RunChunk]

    def run(self) -> StepOutcome:
        """Write both files; returns what is to be recorded.

        Raises:
            NotFoundError, StorageError: a part is gone, or the storage full or away for too long.
            StepEndedError: leave it.
        """
        batch_id, chunks = self.batch.record.id, self.batch.record.chunks or 0
        parts = self.steps.parts(batch_id)
        stored = self.files.patiently(self.interlude, lambda: self.files.storage.list_folder(folder_of(batch_id)))
        for number in range(chunks):
            if number not in parts or not parts[number].token:
                parts[number] = self._fill(number, was_lost=number in parts)
            elif not self._is_whole(number, parts[number], stored):
                logger.warning("chunk %d of %s did not outlive a crash and is run again", number, batch_id)
                parts[number] = self._store(self.rerun(number))
            self.interlude.pause_if_due()
        completed = sum(part.completed for part in parts.values())
        failed = sum(part.failed for part in parts.values())
        output = errors = None
        ordered = [(number, parts[number]) for number in range(chunks)]
        has_rows = completed or (self.batch.rules.errors_inline and any(part.output_rows for part in parts.values()))
        if has_rows or self.batch.record.retry_output_id:
            name = f"{batch_id}_output{self.batch.target.suffix}"
            output = self._make(name, lambda out: self._write_output(ordered, out))
        if failed:
            errs = [self._opener(number, part, "err") for number, part in ordered if part.error_bytes]
            errors = self._make(f"{batch_id}_errors{ERRORS_SUFFIX}", lambda out: assemble_errors(errs, out))
        return assembled(completed=completed, failed=failed, output=output, errors=errors)

    def _write_output(self, parts: Sequence[tuple[int, Part]], out: BinaryIO) -> None:
        """Write the output of all parts; rows that were run again go into their places in the earlier output."""
        record, target = self.batch.record, self.batch.target
        outs = [self._opener(number, part, "out") for number, part in parts]
        if record.retry_output_id is None:
            target.assemble(outs, out)
            return
        places = [self._opener(number, part, "at") for number, part in parts]
        replaces = replaces_rows(target.name, self.batch.rules)
        merge = Merge(
            lambda: open_earlier(record, record.retry_output_id, "output", self.files, self.interlude),
            [NewRows(part, partial(_read_places, at)) for part, at in zip(outs, places, strict=True)],
            replaces,
            n_earlier_rows(record, self.files, self.interlude, replaces=replaces),
        )
        merge_into(target.name, merge, out)

    def _fill(self, number: int, *, was_lost: bool) -> Part:
        """Write the parts of a chunk that has none: nothing but errors."""
        chunk, batch = self.files.chunk(self.batch.record, number, self.interlude), self.batch
        read = None if was_lost else self._read(number)
        found: Sequence[ChunkRows] = [read] if read is not None else []
        if not found:
            found, batch = self._unread(chunk)
        made = [to_store(number, batch, self._unrun(rows, was_lost=was_lost)) for rows in found]
        return self._store(together(made))

    def _unrun(self, rows: ChunkRows, *, was_lost: bool) -> PartResult:
        """Return rows that have nothing but errors."""
        if was_lost:
            message = "the worker died each time it ran the rows around this one"
            faults = tuple(RowFault(place, WORKER_LOST, message, status=SERVER_ERROR) for place in range(len(rows.ids)))
        else:
            faults = unrun_faults(rows, *_UNRUN.get(self.ending, _UNRUN[BatchStatus.FAILED]))
        return PartResult(replace(rows, groups=(), faults=()), [], (*rows.faults, *faults))

    def _unread(self, chunk: Chunk) -> tuple[Sequence[ChunkRows], WorkedBatch]:
        """Return a chunk's rows without what stands in the file, and the batch as they are written.

        Rows that keep their place among others need the columns that those have; where no chunk can tell them, they are
        in the error file alone.
        """
        found, rules = unread_rows(chunk, self.batch.record, self.files, self.interlude), self.batch.rules
        if self.batch.record.retry_output_id:  # the earlier output says already that they failed
            return found, replace(self.batch, rules=replace(rules, errors_inline=False))
        if not (rules.errors_inline and rules.join):
            return found, self.batch
        parts = self.steps.parts(self.batch.record.id)
        # A chunk that was given up may kill its reader.
        safe = [number for number in range(self.batch.record.chunks or 0) if number not in parts or parts[number].token]
        joined = self._null_joined(safe, chunk.rows)
        if joined is None:
            return found, replace(self.batch, rules=replace(rules, errors_inline=False))
        return [replace(rows, joined=joined) for rows in found], self.batch

    def _null_joined(self, numbers: Sequence[int], n_rows: int) -> dict[str, Any] | None:
        """Return joined columns of nulls, with the types that they have in the first chunk that can be read."""
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - without joined columns it is not needed

        found = next((rows for number in numbers if (rows := self._read(number)) is not None), None)
        if found is None:
            return None
        return {name: pa.nulls(n_rows, values.type) for name, values in found.joined.items()}

    def _is_whole(self, number: int, part: Part, stored: Mapping[str, int]) -> bool:
        """Say whether a part is in the storage as it was written."""
        kinds = {"out": part.output_bytes} | ({"err": part.error_bytes} if part.error_bytes else {})
        if self.batch.record.retry_error_id:
            kinds["at"] = part.output_rows * PLACE_BYTES
        batch_id = self.batch.record.id
        return all(
            stored.get(part_key(batch_id, number, part.token, kind)) == n_bytes for kind, n_bytes in kinds.items()
        )

    def _store(self, chunk: RunChunk) -> Part:
        return store_chunk(chunk, self.batch.record.id, self.held.token, self.files, self.interlude)

    def _read(self, number: int) -> ChunkRows | None:
        """Read a chunk; None where that cannot be, which is why the batch failed."""
        try:
            return read_chunk(self.batch, number, self.files, self.interlude)
        except (NotFoundError, InvalidInputError):
            return None

    def _opener(self, number: int, part: Part, kind: str) -> Opener:
        key = part_key(self.batch.record.id, number, part.token, kind)
        return lambda: polite_reader(
            self.files.patiently(self.interlude, lambda: self.files.storage.open(key)), self.interlude
        )

    def _make(self, filename: str, write: Callable[[BinaryIO], None]) -> MadeFile:
        """Write a file under a new id; an attempt that fails leaves nothing."""

        def attempt() -> MadeFile:
            file_id = self.steps.reserve_file()
            with self.files.storage.create(key_of(file_id)) as upload:
                writer = PoliteWriter(upload, self.interlude)
                write(writer.file)
                size = writer.finish()
                if self.interlude.ended:
                    raise self.interlude.ended
            return MadeFile(file_id, size, filename, self.ttl_s)

        return self.files.patiently(self.interlude, attempt)


def _read_places(opener: Opener) -> Array:
    with opener() as file:
        return places_from_bytes(file.read())
