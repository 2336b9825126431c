"""The first step of a batch: check its file as a whole, and cut it into chunks."""

from collections.abc import Callable

from ferry.bulk.batch_records import INVALID_FILE, BatchRecord
from ferry.bulk.formats.base import FileFault, Format, Rules
from ferry.bulk.formats.error_lines import check_inline
from ferry.bulk.formats.recognition import HEAD_BYTES, recognise
from ferry.bulk.formats.registry import check_joined, default_output, format_named
from ferry.bulk.steps import StepOutcome, indexed, refused
from ferry.errors import InvalidInputError
from worker.bulk.batch_files import BatchFiles
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import polite_reader
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
            source = format_named(recognise(record.filename, file.read(HEAD_BYTES)))
        except InvalidInputError as error:
            return refused([FileFault(INVALID_FILE, error.detail)], 0)
        rules = rules_of(record)
        try:
            asked = _output_format(record, source, rules)
        except InvalidInputError as error:
            return refused([_fault_of(error)], 0)
        file.seek(0)
        found = source.index(file, rules)
    if interlude.ended:  # what the format read then was cut off
        raise interlude.ended
    if found.faults:
        return refused(found.faults[: rules.max_faults], found.rows)
    try:
        check_joined(found.joined, asked)
    except InvalidInputError as error:
        return refused([_fault_of(error)], found.rows)
    if record.retry_error_id:
        found = plan_retry(record, source, found, rules, files, interlude)
    width = files.write_index(record.id, found.chunks, interlude)
    return indexed(
        rows=found.rows, chunks=len(found.chunks), width=width, format_name=source.name, output_format=asked,
        notes=found.notes,
    )  # fmt: skip


def _output_format(record: BatchRecord, source: Format, rules: Rules) -> str:
    """Return the format of the output, which can hold what the model gives.

    Raises:
        InvalidInputError: it cannot, or an option does not go with it; a pointer may name the option.
    """
    if rules.joins_all and source.name == "jsonl":
        detail = "join=input is for columns; of JSON lines name the members to join, such as join=id,name"
        raise InvalidInputError.at("metadata.join", detail)
    dtypes = [spec.dtype for spec in rules.manifest.outputs]
    asked = record.metadata.get("output_format") or default_output(source.name, dtypes)
    if rules.escape_formulas and asked not in FORMULA_FORMATS:
        detail = f"csv_escape_formulas is for {' and '.join(FORMULA_FORMATS)}, the output is {asked}; leave it out"
        raise InvalidInputError.at("metadata.csv_escape_formulas", detail)
    format_named(asked).check_output(rules)
    check_inline(rules, asked)
    return asked


def _fault_of(error: InvalidInputError) -> FileFault:
    param = error.faults[0].pointer if error.faults else "metadata.output_format"
    code = "wrong_columns" if param == "metadata.join" else "invalid_output_format"
    return FileFault(code, error.detail, param=param)
