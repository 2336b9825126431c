"""How far an upload, a batch or a download is: a bar on a terminal, else a plain line every few seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ferry.cli.model_tables import say
from ferry.client_bulk_answers import Batch
from ferry.client_bulk_flows import BatchWatcher
from ferry.client_transfers import ByteProgress

PLAIN_EVERY_S = 5.0


class Bars:
    """Shows what is under way on one console."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock

    @contextmanager
    def bytes(self, action: str, name: str) -> Iterator[ByteProgress]:
        """Lend a watcher of a file on its way. action: `uploading` or `downloading`."""
        if not self._console.is_terminal:
            yield self._plain_bytes(f"{action} {name}")
            return
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with self._progress(f"{action} {name}", *columns) as (progress, task):
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def rows(self) -> Iterator[BatchWatcher]:
        """Lend a watcher of a batch."""
        if not self._console.is_terminal:
            yield self._plain_rows()
            return
        with self._progress("", BarColumn(), TextColumn("{task.fields[figures]}")) as (progress, task):

            def show(batch: Batch) -> None:
                done, total = batch.progress.rows_done, batch.counts.total or None
                figures = figures_of(batch)
                progress.update(task, description=batch.status, completed=done, total=total, figures=figures)

            yield show

    @contextmanager
    def _progress(self, what: str, *columns: ProgressColumn) -> Iterator[tuple[Progress, TaskID]]:
        # What is shown comes from files' names, too.
        text = TextColumn("{task.description}", markup=False)
        with Progress(text, *columns, console=self._console) as progress:
            yield progress, progress.add_task(what, total=None, figures="")

    def _plain_bytes(self, what: str) -> ByteProgress:
        said_at = self._clock()

        def show(done: int, total: int) -> None:
            nonlocal said_at
            if self._clock() - said_at >= PLAIN_EVERY_S:
                said_at = self._clock()
                say(self._console, f"{what}: {decimal(done)} of {decimal(total)}")

        return show

    def _plain_rows(self) -> BatchWatcher:
        said_at, status = float("-inf"), ""

        def show(batch: Batch) -> None:
            nonlocal said_at, status
            if batch.status != status or self._clock() - said_at >= PLAIN_EVERY_S:
                said_at, status = self._clock(), batch.status
                say(self._console, f"{status}: {figures_of(batch)}")

        return show


def figures_of(batch: Batch) -> str:
    """Return how far a batch is in words: rows, and while they are run the rate and the time left."""
    progress, total = batch.progress, batch.counts.total
    parts = [f"{progress.rows_done:,} of {total:,} rows" if total else "counting rows"]
    if batch.is_done and not total:
        parts = ["no rows"]
    if batch.counts.failed:
        parts.append(f"{batch.counts.failed:,} failed")
    if progress.rows_per_s and not batch.is_done:
        parts.append(f"{progress.rows_per_s:,.0f} rows/s")
        if progress.eta_s is not None:
            parts.append(f"{duration(progress.eta_s)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in words: `0.4 s`, `34 s`, `5 min 04 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
