"""The first step of a batch: check its file as a whole, and cut it into chunks."""

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from ferry.bulk.batch_records import INVALID_FILE, BatchRecord, prepared_key
from ferry.bulk.formats.base import FileFault, Index, Rules
from ferry.bulk.formats.reading import read_options
from ferry.bulk.formats.registry import default_output, format_named
from ferry.bulk.formats.text_encoding import EncodingError
from ferry.bulk.steps import StepOutcome, indexed, refused
from ferry.errors import InvalidInputError
from worker.bulk.batch_files import BatchFiles
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import polite_reader
from worker.bulk.preparing import OptionError, Preparation, preparation_of, prepare


def index_file(
    record: BatchRecord, rules_of: Callable[[BatchRecord], Rules], files: BatchFiles, interlude: Interlude
) -> StepOutcome:
    """Check a batch's file and write its index.

    Raises:
        NotFoundError, StorageError: the file is gone, or the storage away for too long.
        StepEndedError: leave it.
    """
    return files.patiently(interlude, lambda: _index(record, rules_of, files, interlude))


def _index(
    record: BatchRecord, rules_of: Callable[[BatchRecord], Rules], files: BatchFiles, interlude: Interlude
) -> StepOutcome:
    with files.open_input(record, interlude) as raw:
        file = polite_reader(raw, interlude)
        try:
            work = preparation_of(file, record.filename, read_options(record.metadata))
            rules = rules_of(record)
            asked = record.metadata.get("output_format") or default_output(work.format_name)
            if fault := _metadata_fault(rules, work, asked):
                return refused([fault], 0)
            found = _checked(file, record, rules, work, files, interlude)
        except OptionError as error:
            return refused([FileFault("unused_option", error.detail, param=f"metadata.{error.faults[0].pointer}")], 0)
        except InvalidInputError as error:
            code = "invalid_encoding" if isinstance(error, EncodingError) else INVALID_FILE
            return refused([FileFault(code, error.detail)], 0)
    if found.faults:
        return refused(found.faults[: rules.max_faults], found.rows)
    width = files.write_index(record.id, found.chunks, interlude)
    return indexed(
        rows=found.rows, chunks=len(found.chunks), width=width, format_name=work.format_name, output_format=asked,
        notes=(*work.notes, *found.notes), is_prepared=work.is_needed,
    )  # fmt: skip


def _metadata_fault(rules: Rules, work: Preparation, output_format: str) -> FileFault | None:
    """Return what of the batch's metadata does not go with its file, if something does not."""
    if rules.joins_all and work.format_name == "jsonl":
        detail = "join=input is for columns; of JSON lines name the members to join, such as join=id,name"
        return FileFault("wrong_columns", detail, param="metadata.join")
    try:
        format_named(output_format).check_output(rules)
    except InvalidInputError as error:
        return FileFault("invalid_output_format", error.detail, param="metadata.output_format")
    return None


def _checked(
    file: BinaryIO, record: BatchRecord, rules: Rules, work: Preparation, files: BatchFiles, interlude: Interlude
) -> Index:
    """Return a file's index. Of one that is packed a copy is made first, and kept unless the file is refused.

    Raises:
        InvalidInputError: the copy cannot be made.
    """
    source = format_named(work.format_name)
    if not work.is_needed:
        file.seek(0)
        found = source.index(file, rules)
    else:
        prepare(file, record.id, work, files.storage, interlude, max_bytes=rules.limits.max_bytes)
        with files.open_input(replace(record, is_prepared=True), interlude) as raw:
            found = source.index(polite_reader(raw, interlude), rules)
    if interlude.ended:  # what the format read then was cut off
        raise interlude.ended
    if work.is_needed and found.faults:
        files.storage.delete(prepared_key(record.id))
    return found
