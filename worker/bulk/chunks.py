"""A chunk: read its rows, run them, write its part of the output and of the errors."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ferry.bulk.batch_records import Part, part_key
from ferry.bulk.formats.base import ChunkRows, PartResult
from ferry.bulk.formats.error_lines import write_errors
from ferry.bulk.storage import storage_errors
from worker.bulk.batch_files import BatchFiles, WorkedBatch
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import polite_reader
from worker.bulk.retries import only_failed, places_in_output, replaces_rows


@dataclass(frozen=True, slots=True)
class RunChunk:
    """A chunk that was run: what is to be stored of it. No errors: every row has an output.

    places: of a batch that runs failed rows again, where the rows of the output go.
    """

    number: int
    completed: int
    failed: int
    output: memoryview
    errors: memoryview | None
    output_rows: int
    places: memoryview | None = None


def run_chunk(
    number: int,
    batch: WorkedBatch,
    run: Callable[[ChunkRows], PartResult],
    files: BatchFiles,
    interlude: Interlude,
) -> RunChunk:
    """Read a chunk and run its rows.

    Raises:
        InvalidInputError: the file is not what was indexed.
        NotFoundError, StorageError: the file is gone, or the storage away for too long.
        StepLostError: the chunk is another's by now.
    """
    return to_store(number, batch, run(read_chunk(batch, number, files, interlude)))


def to_store(number: int, batch: WorkedBatch, result: PartResult) -> RunChunk:
    """Return what is to be stored of a chunk's outcome."""
    out, errors = io.BytesIO(), io.BytesIO()
    output_rows = batch.target.write_part(out, result, batch.rules)
    failed = write_errors(errors, result, batch.rules)
    places = None
    if batch.record.retry_error_id:
        replaces = replaces_rows(batch.target.name, batch.rules)
        places = places_in_output(result, output_rows, replaces=replaces)
    return RunChunk(
        number, len(result.rows.ids) - failed, failed, out.getbuffer(), errors.getbuffer() if failed else None,
        output_rows, places,
    )  # fmt: skip


def together(made: Sequence[RunChunk]) -> RunChunk:
    """Return what is to be stored of a chunk whose rows, all without output, are written apart."""
    first = made[0]
    errors = b"".join(chunk.errors for chunk in made if chunk.errors is not None)
    failed = sum(chunk.failed for chunk in made)
    return first if len(made) == 1 else replace(first, failed=failed, errors=memoryview(errors))


def store_chunk(chunk: RunChunk, batch_id: str, token: str, files: BatchFiles, interlude: Interlude) -> Part:
    """Store a chunk's part under the claim's token; returns what is to be known of it.

    It need not survive a power cut: assembly looks whether it did, and runs the chunk again where it did not.

    Raises:
        StorageError: the storage is full, or away for too long.
    """
    n_bytes = {"out": 0, "err": 0}
    for kind, data in (("out", chunk.output), ("err", chunk.errors), ("at", chunk.places)):
        if data is not None:
            files.write(part_key(batch_id, chunk.number, token, kind), data, interlude, is_lasting=False)
            n_bytes[kind] = len(data)
    return Part(token, chunk.completed, chunk.failed, n_bytes["out"], n_bytes["err"], chunk.output_rows)


def read_chunk(batch: WorkedBatch, number: int, files: BatchFiles, interlude: Interlude) -> ChunkRows:
    """Read a chunk's rows; of a batch that runs failed rows again those alone."""
    chunk = files.chunk(batch.record, number, interlude)

    def read() -> ChunkRows:
        with files.open_input(batch.record, interlude) as raw, storage_errors():
            # Formats take an OSError for a damaged file; of an object store it is its absence.
            file = raw if files.storage.is_local else polite_reader(raw, interlude)
            return batch.source.read(file, chunk, batch.rules)

    rows = files.patiently(interlude, read)
    return only_failed(rows, chunk, batch.record, files, interlude)
