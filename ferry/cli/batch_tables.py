"""How batches look on a terminal: the tables of `ferry batch list` and `show`."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferry.cli.batch_bars import figures_of
from ferry.client_bulk_answers import Batch

MOST_WIDTH = 10_000  # wider than any table of batches


def print_batches(console: Console, batches: Sequence[Batch]) -> None:
    """Print a line for each batch. Ids are whole, however narrow the terminal; a pipe gets each batch on one line."""
    table = _batches_table(batches)
    needed = console.measure(table, options=console.options.update(max_width=MOST_WIDTH))
    table.width = max(console.width, needed.minimum) if console.is_terminal else needed.maximum
    console.print(table, crop=False)


def _batches_table(batches: Sequence[Batch]) -> Table:
    # Without lines, so that a batch of a model with a short name fits 80 columns.
    table = Table("batch", "status", "model", "rows", "failed", "created", box=None, pad_edge=False)
    # An id is copied into the next command.
    table.columns[0].no_wrap, table.columns[0].min_width = True, max((len(batch.id) for batch in batches), default=0)
    for batch in batches:
        counts = batch.counts
        table.add_row(
            batch.id,
            batch.status,
            Text(_ref(batch)),
            f"{counts.total:,}",
            f"{counts.failed:,}",
            _time(batch.created_at),
        )
    return table


def batch_table(batch: Batch) -> Table:
    """Return every field that says something."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    times = {
        "created": batch.created_at,
        "in progress": batch.in_progress_at,
        "finalizing": batch.finalizing_at,
        "completed": batch.completed_at,
        "failed": batch.failed_at,
        "expired": batch.expired_at,
        "cancelling": batch.cancelling_at,
        "cancelled": batch.cancelled_at,
        "expires": batch.expires_at,
    }
    chunks = batch.progress.chunks
    rows = {
        "batch": batch.id,
        "status": batch.status,
        "model": _ref(batch),
        "endpoint": batch.endpoint,
        "progress": figures_of(batch),
        "chunks": "" if chunks is None else f"{batch.progress.chunks_done:,} of {chunks:,}",
        "rows succeeded": f"{batch.counts.completed:,}",
        "rows failed": f"{batch.counts.failed:,}",
        "format": batch.format,
        "output format": batch.output_format,
        "input file": batch.input_file_id,
        "output file": batch.output_file_id,
        "error file": batch.error_file_id,
        "window": batch.completion_window,
        "metadata": ", ".join(f"{key}={value}" for key, value in batch.metadata.items()),
    } | {name: _time(at) for name, at in times.items()}
    for what, value in rows.items():
        if value:
            table.add_row(what, Text(value))
    return table


def _ref(batch: Batch) -> str:
    return f"{batch.model}:{batch.model_version}" if batch.model_version else batch.model or ""


def _time(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
