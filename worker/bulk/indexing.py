"""The first step of a batch: check its file as a whole, and cut it into chunks."""

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from ferry.bulk.batch_records import INVALID_FILE, BatchRecord, prepared_key
from ferry.bulk.formats.base import FileFault, Index, Rules
from ferry.bulk.formats.error_lines import check_inline
from ferry.bulk.formats.reading import read_options
from ferry.bulk.formats.registry import check_joined, default_output, format_named
from ferry.bulk.formats.text_encoding import EncodingError
from ferry.bulk.steps import StepOutcome, indexed, refused
from ferry.errors import InvalidInputError
from worker.bulk.batch_files import BatchFiles
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import polite_reader
from worker.bulk.preparing import OptionError, Preparation, preparation_of, prepare
from worker.bulk.retries import plan_retry

FORMULA_FORMATS = ("csv", "tsv")


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
        except InvalidInputError as error:
            return refused([_fault_of_file(error)], 0)
        rules = rules_of(record)
        try:
            asked = _output_format(record, work.format_name, rules)
        except InvalidInputError as error:
            return refused([_fault_of_output(error)], 0)
        record = replace(record, is_prepared=work.is_needed)
        found = _checked(file, record, rules, work, files, interlude)
    if not found.faults:
        try:
            check_joined(found.joined, asked)
        except InvalidInputError as error:
            found = replace(found, faults=(_fault_of_output(error),))
    if found.faults:
        if work.is_needed:
            files.storage.delete(prepared_key(record.id))
        return refused(found.faults[: rules.max_faults], found.rows)
    if record.retry_error_id:
        found = plan_retry(record, format_named(work.format_name), found, rules, files, interlude)
    width = files.write_index(record.id, found.chunks, interlude)
    return indexed(
        rows=found.rows, chunks=len(found.chunks), width=width, format_name=work.format_name, output_format=asked,
        notes=(*work.notes, *found.notes), is_prepared=work.is_needed,
    )  # fmt: skip


def _checked(
    file: BinaryIO, record: BatchRecord, rules: Rules, work: Preparation, files: BatchFiles, interlude: Interlude
) -> Index:
    """Return a file's index; of one that is packed, or not UTF-8, a copy is made first."""
    source = format_named(work.format_name)
    if work.is_needed:
        try:
            prepare(file, record.id, work, files.storage, interlude, max_bytes=rules.limits.max_bytes)
        except InvalidInputError as error:
            return Index(0, (), (_fault_of_file(error),))
        with files.open_input(record, interlude) as raw:
            found = source.index(polite_reader(raw, interlude), rules)
    else:
        file.seek(0)
        found = source.index(file, rules)
    if interlude.ended:  # what the format read then was cut off
        raise interlude.ended
    return found


def _output_format(record: BatchRecord, source: str, rules: Rules) -> str:
    """Return the format of the output, which can hold what the model gives; source: the format of the input.

    Raises:
        InvalidInputError: it cannot, or an option does not go with it; a pointer may name the option.
    """
    if rules.joins_all and source == "jsonl":
        detail = "join=input is for columns; of JSON lines name the members to join, such as join=id,name"
        raise InvalidInputError.at("metadata.join", detail)
    dtypes = [spec.dtype for spec in rules.manifest.outputs]
    asked = record.metadata.get("output_format") or default_output(source, dtypes)
    if rules.escape_formulas and asked not in FORMULA_FORMATS:
        detail = f"csv_escape_formulas is for {' and '.join(FORMULA_FORMATS)}, the output is {asked}; leave it out"
        raise InvalidInputError.at("metadata.csv_escape_formulas", detail)
    format_named(asked).check_output(rules)
    check_inline(rules, asked)
    return asked


def _fault_of_file(error: InvalidInputError) -> FileFault:
    if isinstance(error, OptionError):
        return FileFault("unused_option", error.detail, param=f"metadata.{error.faults[0].pointer}")
    return FileFault("invalid_encoding" if isinstance(error, EncodingError) else INVALID_FILE, error.detail)


def _fault_of_output(error: InvalidInputError) -> FileFault:
    param = error.faults[0].pointer if error.faults else "metadata.output_format"
    code = "wrong_columns" if param == "metadata.join" else "invalid_output_format"
    return FileFault(code, error.detail, param=param)
