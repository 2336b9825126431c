"""`ferry demo`: a thousand handwritten digits through the whole stack, as a thousand jobs, and what came back."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from ferry.cli.demo_figures import Answer, Summary, pick_shown, summarize
from ferry.cli.demo_traffic import Progressing, Samples, read_samples, send_all
from ferry.cli.terminal import draw_digit, has_utf8, side_by_side
from ferry.local.redis_probe import place_of
from ferry.settings import load_settings

REFRESH_S = 0.1
INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def demo(
    jobs: Annotated[int, typer.Option(min=1, max=100_000, help="How many digits to send.")] = 1000,
    model: Annotated[str, typer.Option(help="The model to send them to; it needs samples/digits.npz.")] = "mnist",
) -> None:
    """Send handwritten digits through the whole stack, each as a job of its own, and show what came back.

    Starts a stack of its own, in a folder of its own, and stops it again. Exits with 0 when every job succeeded.
    """
    settings = load_settings()
    samples = read_samples(settings.models_dir, model).take(jobs)
    console = Console(highlight=False, soft_wrap=True)
    # SIGTERM and a hang-up end the demo as Ctrl-C does: everything it started is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with demo_folder(settings.data_dir, console) as folder:
            redis = (
                f"on the Redis at {place_of(settings.redis_url)}" if settings.redis_url else "with a Redis of their own"
            )
            console.print(f"Starting API, workers and Flower {redis} ...", markup=False)
            raise typer.Exit(_run(folder, samples, console))
    except KeyboardInterrupt:
        console.print("Stopped; everything the demo started is stopped too.")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def demo_folder(data_dir: Path, console: Console) -> Iterator[Path]:
    """Lend a new data folder; it is removed when the demo went well or was interrupted, else kept and named."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=data_dir))
    is_kept = True
    try:
        yield folder
    except typer.Exit as end:
        is_kept = end.exit_code != 0
        raise
    except KeyboardInterrupt:
        is_kept = False
        raise
    finally:
        if is_kept:
            console.print(f"Something failed; logs and data are kept in {folder}", markup=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, samples: Samples, console: Console) -> int:
    from ferry.local.background_stack import BackgroundStack  # noqa: PLC0415 - see ferry.cli.up

    stack = BackgroundStack(folder)
    try:
        info = stack.start()
        addresses = f"API {info.api_url}  Flower {info.flower_url}  Redis {place_of(info.redis_url)}"
        for line in (*info.notes, addresses):
            console.print(line, markup=False)
        console.print(f"Sending {len(samples.images):,} handwritten digits, each as a job of its own ...")
        answers = asyncio.run(_send_with_bars(console, info.api_url, samples, stack.check))
    finally:
        stack.stop()
    summary = summarize(answers)
    show_digits(console, pick_shown(answers))
    console.print(table_of(summary))
    for fault, count in summary.faults.most_common(5):
        console.print(f"{count:,} x {fault}", markup=False)
    console.print(f"Served at {info.api_url}/docs, watched at {info.flower_url}; all is stopped again.", markup=False)
    console.print("To keep one running: make up" if Path("Makefile").exists() else "To keep one running: ferry up")
    return 0 if summary.n_succeeded == summary.n_jobs else 1


async def _send_with_bars(console: Console, api_url: str, samples: Samples, check: Callable[[], None]) -> list[Answer]:
    """Send all, with two bars on a terminal and without any in a log; give up when `check` raises."""
    # httpx' own pool brings 150 requests/s with 64 under way on 2 cores, aiohttp's over 1,000. It is installed with the
    # runtime, not with the client library.
    from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415

    progress, n_jobs = Progressing(), len(samples.images)
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    sending = asyncio.create_task(send_all(api_url, samples, progress, AiohttpTransport()))
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as bars:
        submitted, finished = bars.add_task("submitted", total=n_jobs), bars.add_task("finished", total=n_jobs)
        while not sending.done():
            await asyncio.wait([sending], timeout=REFRESH_S)
            bars.update(submitted, completed=progress.n_submitted)
            bars.update(finished, completed=progress.n_finished)
            bars.refresh()
            check()
    return sending.result()


def table_of(summary: Summary) -> Table:
    """Return the figures as a table."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows: tuple[tuple[str, Any, str], ...] = (
        ("jobs succeeded", summary.n_succeeded, "{:,}"),
        ("jobs failed", summary.n_jobs - summary.n_succeeded, "{:,}"),
        ("accuracy", summary.accuracy, "{:.1%}"),
        ("jobs per second", summary.jobs_per_s, "{:,.0f}"),
        ("batches", summary.n_batches, "{:,}"),
        ("mean rows per batch", summary.rows_per_batch, "{:.1f}"),
        ("submit to result, p50", summary.p50_ms, "{:,.0f} ms"),
        ("submit to result, p99", summary.p99_ms, "{:,.0f} ms"),
    )
    for label, value, form in rows:
        table.add_row(label, "-" if value is None else form.format(value))
    return table


def show_digits(console: Console, answers: Sequence[Answer]) -> None:
    """Draw digits with what the model made of them."""
    if not answers:
        return
    is_utf8 = has_utf8(sys.stdout)
    pictures = [draw_digit(answer.image, is_utf8=is_utf8) for answer in answers]
    captions = [
        f"read as {answer.digit} ({max(answer.scores):.1%})" + ("" if answer.is_right else f", is {answer.truth}")
        for answer in answers
    ]
    for line in side_by_side(pictures, captions):
        console.print(line, markup=False)
