"""`ferry dead`: the jobs that were given up since their workers died; look at them, replay or drop them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ferry.cli.groups import Group
from ferry.cli.live_queue import producer_of
from ferry.cli.model_tables import open_console, say
from ferry.errors import FerryError, InvalidInputError, NotFoundError, QueueFullError
from ferry.jobs import WORKER_LOST, DeadLetter, JobRecord, Verdict
from ferry.queue.dead_letters import DeadLetters
from ferry.queue.producer import Producer
from ferry.settings import Settings, load_settings

app = typer.Typer(cls=Group, help="Jobs whose workers died: list, show, replay, drop.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(metavar="JOB_ID...", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every dead letter there is now.")]

PAGE = 100

# Does something with one letter and returns what to say of it.
Action = Callable[[Producer, DeadLetters, str], Awaitable[str]]


@app.command("list")
def list_dead(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show this many, the last first.")] = 20,
) -> None:
    """List dead letters, the last first."""
    letters, total = asyncio.run(_list(load_settings(), limit))
    console = open_console()
    if not total:
        say(console, "No dead letters.")
        return
    table = Table("job", "model", "rows", "died", "why")
    for letter in letters:
        record = letter.record
        table.add_row(
            record.id, f"{record.model}:{record.version}", str(record.rows), _time(letter.died_ms * 1000),
            Text(record.error or ""),
        )  # fmt: skip
    console.print(table)
    if total > len(letters):
        say(console, f"{total - len(letters):,} more; --limit shows more of them")


@app.command()
def show(job_id: Annotated[str, typer.Argument(metavar="JOB_ID")]) -> None:
    """Show one dead letter."""
    record = asyncio.run(_show(load_settings(), job_id))
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for what, value in (
        ("job", record.id),
        ("model", f"{record.model}:{record.version}"),
        ("rows", str(record.rows)),
        ("attempts", str(record.attempts)),
        ("accepted", _time(record.created_us)),
        ("last started", _time(record.started_us)),
        ("given up", _time(record.completed_us)),
        ("why", record.error or ""),
        ("replay of", record.replay_of or ""),
    ):
        if value:
            table.add_row(what, Text(value))
    console = open_console()
    console.print(table)
    say(console, f"Try it again: ferry dead replay {job_id}")


@app.command()
def replay(job_ids: Ids = None, every: All = False) -> None:
    """Submit the input of dead letters as new jobs, and take the letters off the list."""
    _for_each(_replay, job_ids, is_all=every)


@app.command()
def drop(
    job_ids: Ids = None,
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget dead letters and their inputs."""
    if not yes:
        typer.confirm(f"Forget {'every dead letter' if every else ', '.join(job_ids or [])}?", abort=True)
    _for_each(_drop, job_ids, is_all=every)


def _for_each(action: Action, job_ids: Sequence[str] | None, *, is_all: bool) -> None:
    if bool(job_ids) == is_all:
        raise InvalidInputError("name one or more job ids, or --all")
    failed = asyncio.run(_act(load_settings(), action, list(job_ids or ())))
    if failed:
        raise typer.Exit(1)


async def _act(settings: Settings, action: Action, job_ids: list[str]) -> int:
    """Act on these letters, or on all; returns how many could not be acted on."""
    console = open_console()
    failed = 0
    async with producer_of(settings) as (producer, dead_letters):
        for job_id in job_ids or await _all_ids(dead_letters):
            try:
                say(console, await action(producer, dead_letters, job_id))
            except FerryError as error:
                typer.echo(f"ferry: {job_id}: {error.detail}", err=True)
                failed += 1
    return failed


async def _all_ids(dead_letters: DeadLetters) -> list[str]:
    ids: list[str] = []
    while True:
        letters, _ = await dead_letters.list_dead(offset=len(ids), limit=PAGE)
        ids += [letter.record.id for letter in letters]
        if len(letters) < PAGE:
            return ids


async def _replay(producer: Producer, dead_letters: DeadLetters, job_id: str) -> str:
    submission = await dead_letters.replay_of(job_id)
    if submission is None:
        raise NotFoundError("no such dead letter")
    (receipt,) = await producer.submit([submission])
    if receipt.verdict not in (Verdict.ACCEPTED, Verdict.EXISTS):
        raise QueueFullError(f"not accepted now ({receipt.verdict.value.replace('_', ' ')}); it stays a dead letter")
    await dead_letters.retire(job_id)
    return f"{job_id} goes on as {submission.id}"


async def _drop(producer: Producer, _: DeadLetters, job_id: str) -> str:
    await _dead(producer, job_id)
    await producer.delete(job_id)
    return f"{job_id} is forgotten"


async def _list(settings: Settings, limit: int) -> tuple[list[DeadLetter], int]:
    async with producer_of(settings) as (_, dead_letters):
        return await dead_letters.list_dead(limit=limit)


async def _show(settings: Settings, job_id: str) -> JobRecord:
    async with producer_of(settings) as (producer, _):
        return await _dead(producer, job_id)


async def _dead(producer: Producer, job_id: str) -> JobRecord:
    record = await producer.read(job_id)
    if record is None or record.error_code != WORKER_LOST:
        raise NotFoundError(f"no dead letter {job_id!r}; `ferry dead list` shows them")
    return record


def _time(us: int | None) -> str:
    return "" if us is None else datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
