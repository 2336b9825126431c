"""`ferry batch`: run a file of rows through a model, and look at, cancel and come back to such batches."""

import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ferry.cli.batch_plan import OUT_INFIX, Plan, check_suffix, places_of, plan_of, stem_of
from ferry.cli.batch_reasons import failures_of, reasons_of
from ferry.cli.batch_session import Interrupts, Session, held_interrupts, open_session
from ferry.cli.batch_stream import RowStream
from ferry.cli.batch_tables import batch_table, print_batches
from ferry.cli.batch_watch import INTERRUPTED, check_stdout, watch
from ferry.cli.groups import Group
from ferry.cli.model_tables import open_console, say
from ferry.client import ApiError, Batch, File
from ferry.errors import FerryError

app = typer.Typer(cls=Group, help="Run whole files of rows through a model.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="BATCH_ID")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="FERRY_URL", metavar="URL",
        help="Address of the API; else that of the stack that is up, else port FERRY_API_PORT of this machine.",
    ),
]  # fmt: skip
ErrorFile = Annotated[
    Path | None,
    typer.Option("--error-file", metavar="PATH", help="Where the error file goes; else OUT.errors.jsonl."),
]
PatienceS = Annotated[
    float, typer.Option("--patience", min=0, metavar="SECONDS", help="How long to wait for an API that went away.")
]
PATIENCE_S = 600.0

PAGE = 100


@app.command()
def run(  # noqa: PLR0913, PLR0917 - an argument for each option
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="JSONL, CSV, TSV, Parquet, Arrow, NPY, NPZ or a ZIP of images; also as .gz or .zst."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME[:VERSION]", help="The model to run.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The output: its suffix sets the format; an existing file is replaced. - is standard output."
            " Else FILE's stem + .out.",
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="jsonl, csv, tsv, parquet, arrow, npy or npz; else what OUT's name says, or FILE's."
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            metavar="COLS",
            help="Columns to repeat in the output, separated by commas; the word input: every column that is"
            " no input of the model.",
        ),
    ] = None,
    header: Annotated[
        str | None, typer.Option(metavar="yes|no", help="Of CSV and TSV: whether the first line names the columns.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHAR", help="Of CSV and TSV: one character between fields, or the word tab.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(metavar=".|,", help="Of CSV and TSV: the decimal sign.")] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of CSV, TSV and JSONL, such as cp1252; default UTF-8, or as the byte order mark says."
        ),
    ] = None,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas", help="In CSV or TSV, put ' before text that a spreadsheet runs as a formula."
        ),
    ] = False,
    window: Annotated[
        str, typer.Option(metavar="TIME", help="When it expires, done or not: such as 24h or 90m, from 1m to 30d.")
    ] = "24h",
    errors: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="file: rows that failed are in the error file alone; inline: at their place in the output too.",
        ),
    ] = "file",
    error_file: ErrorFile = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Write the output while the batch runs (JSONL, CSV, TSV).")
    ] = False,
    retry_failed: Annotated[
        str | None,
        typer.Option(
            metavar="BATCH_ID",
            help="Run only the rows that failed in this batch, with its file, model and options, and fetch its output "
            "with them in their places.",
        ),
    ] = None,
    url: Url = None,
    patience: PatienceS = PATIENCE_S,
) -> None:
    """Run every row of FILE through a model and fetch the output.

    Exits with 0 when every row succeeded, 3 when rows failed, 130 after Ctrl-C, else with 1.
    """
    options = {"header": header, "delimiter": delimiter, "decimal": decimal, "encoding": encoding}
    reading = {name: value for name, value in options.items() if value is not None}
    if retry_failed is not None:
        if not retry_failed.strip():
            raise typer.BadParameter("--retry-failed needs the id of a batch; `ferry batch list` shows them")
        given = (file, model, output_format, join, escape_formulas or None, None if errors == "file" else errors)
        if any(each is not None for each in given) or follow or reading:
            raise typer.BadParameter(f"file, model and options are those of {retry_failed}; leave them out with it")
        with open_session(url, patience) as session:
            raise typer.Exit(_retry(session, retry_failed, out, error_file, window))
    if file is None or model is None:
        raise typer.BadParameter("name a FILE and a --model NAME, or --retry-failed BATCH_ID")
    planned = partial(
        plan_of, file, model, out=out, output_format=output_format, join=join, errors=errors, error_file=error_file,
        escape_formulas=escape_formulas, reading=reading,
    )  # fmt: skip
    plan = planned()
    check_stdout(plan.output_format, plan.places)
    with open_session(url, patience) as session:
        plan = planned(dtypes=session.client.check_model(model))
        stream = RowStream(plan.output_format, plan.places.out) if follow else None
        stored = _upload(session, plan)
        batch, held = _create(session, plan, stored, window)
        session.say(f"batch {batch.id} of {plan.path.name}; Ctrl-C leaves or cancels it")
        raise typer.Exit(watch(session, batch.id, plan.places, is_interrupted=held.is_pressed, stream=stream))


@app.command()
def resume(
    batch_id: Id,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="OUT", help="The output; - is standard output. Else the input's stem + .out."
        ),
    ] = None,
    error_file: ErrorFile = None,
    url: Url = None,
    patience: PatienceS = PATIENCE_S,
) -> None:
    """Watch a batch again and fetch its output; exits as `run` does."""
    with open_session(url, patience) as session:
        batch = session.patience.run(lambda: session.client.batch(batch_id))
        _check_out(out, batch)
        default_out = Path(batch_id) if out else _default_out(session, batch)
        places = places_of(out, default_out, error_file)
        check_stdout(batch.output_format, places)
        raise typer.Exit(watch(session, batch_id, places))


@app.command("list")
def list_batches(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show this many, the last first.")] = 20,
    url: Url = None,
) -> None:
    """List batches, the last first."""
    found: list[Batch] = []
    with open_session(url) as session:
        while len(found) <= limit:
            asked = min(PAGE, limit + 1 - len(found))
            page = session.client.batches(found[-1].id if found else None, asked)
            found += page
            if len(page) < asked:
                break
    console = open_console()
    if not found:
        say(console, "No batches.")
        return
    print_batches(console, found[:limit])
    if len(found) > limit:
        say(console, "there are more; --limit shows more of them")


@app.command()
def show(batch_id: Id, url: Url = None) -> None:
    """Show all there is to know of a batch."""
    with open_session(url) as session:
        batch = session.client.batch(batch_id)
    console = open_console()
    console.print(batch_table(batch))
    for line in (*(f"note: {note}" for note in batch.notes), *reasons_of(failures_of(batch.errors))):
        say(console, line)


@app.command()
def cancel(batch_id: Id, url: Url = None) -> None:
    """Cancel a batch; the rows that are done stay done."""
    with open_session(url) as session:
        batch = session.client.cancel_batch(batch_id)
    say(open_console(), f"{batch.id} is {batch.status}.")


def _upload(session: Session, plan: Plan) -> File:
    try:
        with session.bars.bytes("uploading", plan.path.name) as show_progress:
            return session.client.upload_file(plan.path, on_progress=show_progress)
    except KeyboardInterrupt:
        # The connection is closed in the middle of the form, so the server drops what has come.
        session.say("stopped while uploading; nothing is left of it")
        raise typer.Exit(INTERRUPTED) from None


def _retry(session: Session, earlier_id: str, out: str | None, error_file: Path | None, window: str) -> int:
    """Run the failed rows of a batch again; return the exit status."""
    earlier = session.patience.run(lambda: session.client.batch(earlier_id))
    _check_out(out, earlier)
    places = places_of(out, _default_out(session, earlier), error_file)
    check_stdout(earlier.output_format, places)
    key = secrets.token_hex(16)  # repeated, it makes no second one
    with held_interrupts(session.say) as held:
        batch = session.patience.run(
            lambda: session.client.retry_batch(earlier_id, completion_window=window, idempotency_key=key)
        )
    session.say(f"batch {batch.id} of the rows that failed in {earlier_id}; Ctrl-C leaves or cancels it")
    return watch(session, batch.id, places, is_interrupted=held.is_pressed)


def _check_out(out: str | None, batch: Batch) -> None:
    """Refuse a name of the output that says another format than a batch has."""
    if batch.output_format:
        check_suffix(out, batch.output_format, f"the output of {batch.id} is {batch.output_format}", "")


def _create(session: Session, plan: Plan, stored: File, window: str) -> tuple[Batch, Interrupts]:
    """Make the batch; where none is made its input is deleted again."""
    key = secrets.token_hex(16)  # repeated, it makes no second one
    try:
        with held_interrupts(session.say) as held:
            batch = session.patience.run(
                lambda: session.client.create_batch(
                    stored.id, model=plan.model, endpoint=plan.endpoint, completion_window=window,
                    metadata=plan.metadata, idempotency_key=key,
                )
            )  # fmt: skip
    except (FerryError, KeyboardInterrupt) as error:
        with suppress(FerryError):
            session.client.delete_file(stored.id)
        if isinstance(error, FerryError):
            raise
        session.say("stopped before there was a batch; nothing is left of it")
        raise typer.Exit(INTERRUPTED) from None
    return batch, held


def _default_out(session: Session, batch: Batch) -> Path:
    """Return a name in this folder: of the input as it was uploaded, or of the batch where that is gone."""
    stem = batch.id
    with suppress(ApiError):
        stem = stem_of(session.client.file(batch.input_file_id).filename)
    return Path(f"{stem}{OUT_INFIX}.{batch.output_format or 'jsonl'}")
