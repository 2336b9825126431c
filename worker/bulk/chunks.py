"""A chunk: read its rows, run them, write its part of the output and of the errors."""

import io
from collections.abc import Callable

from ferry.bulk.batch_records import part_key
from ferry.bulk.formats.base import ChunkRows, PartResult
from ferry.bulk.formats.error_lines import write_errors
from ferry.bulk.steps import Held, StepOutcome, worked
from ferry.bulk.storage import storage_errors
from worker.bulk.batch_files import BatchFiles, WorkedBatch
from worker.bulk.interludes import Interlude


def work_chunk(
    held: Held,
    batch: WorkedBatch,
    run: Callable[[ChunkRows], PartResult],
    files: BatchFiles,
    interlude: Interlude,
) -> StepOutcome:
    """Work through a chunk.

    Raises:
        InvalidInputError: the file is not what was indexed.
        NotFoundError, StorageError: the file is gone, or the storage full or away for too long.
        StepLostError: the chunk is another's by now.
    """
    number = int(held.step)
    rows = read_chunk(batch, number, files, interlude)
    result = run(rows)
    has_errors = write_part(batch, number, held.token, result, files, interlude)
    failed = len(result.all_faults())
    return worked(
        number, held.token, completed=len(rows.ids) - failed, failed=failed, has_output=True, has_errors=has_errors
    )


def read_chunk(batch: WorkedBatch, number: int, files: BatchFiles, interlude: Interlude) -> ChunkRows:
    """Read a chunk's rows."""
    chunk = files.chunk(batch.record, number, interlude)

    def read() -> ChunkRows:
        with files.open_input(batch.record, interlude) as file, storage_errors():
            return batch.source.read(file, chunk, batch.rules)

    return files.patiently(interlude, read)


def write_part(
    batch: WorkedBatch, number: int, token: str, result: PartResult, files: BatchFiles, interlude: Interlude
) -> bool:
    """Write the outputs of a chunk, and its errors where there are any; returns whether there are."""
    out = io.BytesIO()
    batch.target.write_part(out, result, batch.rules)
    files.write(part_key(batch.record.id, number, token, "out"), out.getbuffer(), interlude)
    errors = io.BytesIO()
    if write_errors(errors, result, batch.rules) == 0:
        return False
    files.write(part_key(batch.record.id, number, token, "err"), errors.getbuffer(), interlude)
    return True
