"""Watching a batch until its files are here: what Ctrl-C asks, what is said of its end, and the exit status."""

import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from ferry.cli.batch_bars import duration, figures_of
from ferry.cli.batch_plan import ERRORS_SUFFIX, STDOUT, TEXT_FORMATS, Places
from ferry.cli.batch_reasons import Reasons, failures_of, reasons_of, reasons_of_file
from ferry.cli.batch_session import Session
from ferry.cli.batch_stream import RowStream
from ferry.client_bulk_answers import Batch
from ferry.errors import FerryError, InvalidInputError

SUCCEEDED, GIVEN_UP, ROWS_FAILED, INTERRUPTED = 0, 1, 3, 130  # 2 is a wrong option's, 130 is 128 + SIGINT
MAX_QUESTIONS = 3
QUESTION = "leave it running, cancel it, or go on watching? [l/c/w] "

Choice = Literal["leave", "cancel", "watch"]


def watch(
    session: Session, batch_id: str, places: Places, *, is_interrupted: bool = False, stream: RowStream | None = None
) -> int:
    """Watch a batch to its end and fetch its files; return the exit status.

    is_interrupted: Ctrl-C was pressed already. stream: where the output goes while the batch runs.

    Raises:
        FerryError: the API refuses, or was away for too long; how to come back is said before.
    """
    resume = resume_line(session, batch_id, places)
    choice: Choice | None = "watch"
    try:
        while choice == "watch":
            try:
                if is_interrupted:
                    raise KeyboardInterrupt  # noqa: TRY301 - the one that was held back
                if stream:
                    stream.write_all(session, batch_id)
                ended = _watch(session, batch_id)
                choice = None
            except KeyboardInterrupt:
                is_interrupted = False
                session.say(f"to come back: {resume}")
                choice = _ask(session) if is_interactive() else "leave"
                if choice == "cancel":
                    session.patience.run(lambda: session.client.cancel_batch(batch_id))
                    choice = "watch"
        if choice == "leave":
            session.say(f"batch {batch_id} goes on without being watched")
            return INTERRUPTED
        return _deliver(session, ended, places, has_output=stream is not None)
    except FerryError:
        session.say(f"to come back: {resume}")
        raise
    except KeyboardInterrupt:
        session.say(f"stopped; to come back: {resume}")
        return INTERRUPTED


def resume_line(session: Session, batch_id: str, places: Places) -> str:
    """Return the command that watches a batch again and fetches the same files."""
    return f"ferry batch resume {batch_id} {_files_of(session, places)}"


def retry_line(session: Session, batch_id: str, places: Places) -> str:
    """Return the command that runs a batch's failed rows again and fetches the merged files to the same places."""
    return f"ferry batch run --retry-failed {batch_id} {_files_of(session, places)}"


def _files_of(session: Session, places: Places) -> str:
    """Return the options that name the same files and the same API."""
    line = f"-o {STDOUT if places.out is None else shlex.quote(str(places.out))}"
    if places.out is None or places.errors != places.out.with_name(places.out.name + ERRORS_SUFFIX):
        line += f" --error-file {shlex.quote(str(places.errors))}"
    return line + session.url_option


def is_interactive() -> bool:
    """Say whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def check_stdout(output_format: str | None, places: Places) -> None:
    """Refuse to write a binary file to a terminal.

    Raises:
        InvalidInputError: it would.
    """
    if places.out is None and output_format not in TEXT_FORMATS and sys.stdout.isatty():
        raise InvalidInputError(f"{output_format} is not for a terminal; name a file with -o, or redirect the output")


def _watch(session: Session, batch_id: str) -> Batch:
    with session.bars.rows() as show:

        def see(batch: Batch) -> None:
            session.patience.met()
            show(batch)

        return session.patience.run(lambda: session.client.wait_batch(batch_id, on_progress=see))


def _ask(session: Session) -> Choice:
    words: tuple[Choice, ...] = ("leave", "cancel", "watch")
    choices = {key: word for word in words for key in (word, word[0])}
    try:
        for _ in range(MAX_QUESTIONS):
            session.console.print(QUESTION, end="", markup=False)
            answer = sys.stdin.readline()
            if not answer:
                break
            if choice := choices.get(answer.strip().lower()):
                return choice
    except KeyboardInterrupt:
        session.say("")
    return "leave"


def _deliver(session: Session, batch: Batch, places: Places, *, has_output: bool) -> int:
    """Fetch what there is, unless the output has come already, and say how it ended."""
    if batch.output_file_id and not has_output:
        _fetch(session, batch.output_file_id, places.out)
    if batch.error_file_id:
        _fetch(session, batch.error_file_id, places.errors)
    for note in batch.notes:
        session.say(f"note: {note}")
    counts = batch.counts
    if batch.status != "completed":
        _say_ended(session, batch, places)
        return GIVEN_UP
    session.say(f"batch {batch.id} completed: {_summary(batch)}")
    if batch.output_file_id and places.out:
        session.say(f"output: {places.out}")
    elif not batch.output_file_id:
        session.say("there is no output file, for no row succeeded")
    if counts.failed:
        reasons = _say_reasons(session, batch, places)
        where = f"; why: {places.errors}" if batch.error_file_id else ""
        session.say(f"{counts.failed:,} of {counts.total:,} rows failed{where}")
        _say_next_step(session, reasons, batch.id, places)
        return ROWS_FAILED
    return SUCCEEDED


def _summary(batch: Batch) -> str:
    counts, times = batch.counts, batch.timings
    text = f"{counts.completed:,} of {counts.total:,} rows succeeded"
    if times.in_progress is not None and times.ended is not None and times.ended > times.in_progress:
        took_s = times.ended - times.in_progress
        text += f" in {duration(took_s)} ({counts.total / took_s:,.0f} rows/s)"
    return text


def _say_ended(session: Session, batch: Batch, places: Places) -> None:
    if batch.errors:
        session.say(f"batch {batch.id} {batch.status}: the file cannot be run")
        for line in reasons_of(failures_of(batch.errors)):
            session.say(line)
        return
    session.say(f"batch {batch.id} {batch.status}: {figures_of(batch)}")
    if batch.output_file_id and places.out:
        session.say(f"what was done: {places.out}")
    if batch.error_file_id:
        reasons = _say_reasons(session, batch, places)
        session.say(f"what failed or was never run: {places.errors}")
        _say_next_step(session, reasons, batch.id, places)


def _say_reasons(session: Session, batch: Batch, places: Places) -> Reasons:
    """Say why rows failed, from the error file that was fetched, and return it."""
    reasons = reasons_of_file(places.errors) if batch.error_file_id else Reasons()
    for line in reasons.lines():
        session.say(line)
    return reasons


def _say_next_step(session: Session, reasons: Reasons, batch_id: str, places: Places) -> None:
    """Say how to get the rows that failed; a row that does not fit the model fails again as it is."""
    if reasons.codes - {InvalidInputError.code}:
        session.say(f"run them again: {retry_line(session, batch_id, places)}")
    elif reasons.codes:
        session.say("repair these rows in a new file and run that; --retry-failed reads the same file again")


def _fetch(session: Session, file_id: str, path: Path | None) -> None:
    """Write a file to `path`, or to standard output."""
    if path is not None:
        _download(session, file_id, path)
        return
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        whole = Path(folder) / "output"
        _download(session, file_id, whole)
        with whole.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _download(session: Session, file_id: str, path: Path) -> None:
    with session.bars.bytes("downloading", path.name) as show:
        session.patience.run(lambda: session.client.download_file(file_id, path, on_progress=show))
