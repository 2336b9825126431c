"""`ferry queue`: look at the queues, pause, drain and purge one, and delete a job with its data."""

import asyncio
import time
from typing import Annotated

import typer
from rich.table import Table

from ferry.cli.groups import Group
from ferry.cli.live_queue import admin_of, producer_of, resolve_live
from ferry.cli.model_tables import open_console, say
from ferry.errors import NotFoundError
from ferry.queue.producer import ModelStatus
from ferry.settings import Settings, load_settings

app = typer.Typer(cls=Group, help="Look at the queues, pause, drain, purge.", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="The model; its latest version, or the one named.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

LOOK_EVERY_S = 0.5


@app.command("list")
def list_queues() -> None:
    """List every model's queue: who serves it, what waits, and whether it is open."""
    statuses, n_dead = asyncio.run(_look(load_settings()))
    console = open_console()
    table = Table("model", "workers", "rows waiting", "queue")
    for status in statuses:
        table.add_row(status.manifest.ref, str(status.live_workers), f"{status.waiting_rows:,}", _gates(status))
    console.print(table)
    if n_dead:
        say(console, f"{n_dead} dead letters; see `ferry dead list`")


@app.command()
def pause(ref: Ref) -> None:
    """Hand out none of a model's jobs until `resume`; what runs goes on, and new jobs are accepted."""
    with admin_of(load_settings()) as admin:
        name, version = resolve_live(admin, ref)
        admin.pause(name, version)
        waiting = admin.waiting_jobs(name, version)
    say(
        open_console(), f"{name}:{version} is paused, {waiting:,} jobs wait. Go on: ferry queue resume {name}:{version}"
    )


@app.command()
def resume(ref: Ref) -> None:
    """Open a queue again after `pause` or `drain`."""
    with admin_of(load_settings()) as admin:
        name, version = resolve_live(admin, ref)
        admin.resume(name, version)
    say(open_console(), f"{name}:{version} is open.")


@app.command()
def drain(
    ref: Ref, wait: Annotated[bool, typer.Option("--wait", help="Return when no job waits any more.")] = False
) -> None:
    """Accept no new job of a model until `resume` (they get 503); those that wait are run."""
    console = open_console()
    with admin_of(load_settings()) as admin:
        name, version = resolve_live(admin, ref)
        admin.drain(name, version)
        waiting = admin.waiting_jobs(name, version)
        again = f"ferry queue resume {name}:{version}"
        say(console, f"{name}:{version} takes no new jobs, {waiting:,} wait. Open it again: {again}")
        while wait and waiting:
            time.sleep(LOOK_EVERY_S)
            waiting = admin.waiting_jobs(name, version)
    if wait:
        say(console, f"No job of {name}:{version} waits.")


@app.command()
def purge(ref: Ref, yes: Yes = False) -> None:
    """Cancel every job of a model that waits; what runs goes on."""
    with admin_of(load_settings()) as admin:
        name, version = resolve_live(admin, ref)
        waiting = admin.waiting_jobs(name, version)
        if waiting and not yes:
            typer.confirm(f"Cancel {waiting:,} waiting jobs of {name}:{version}?", abort=True)
        purged = admin.purge(name, version)
    say(open_console(), f"Canceled {purged:,} jobs of {name}:{version}.")


@app.command()
def delete(job_id: Annotated[str, typer.Argument(metavar="JOB_ID")], yes: Yes = False) -> None:
    """Forget a job with its input and result; one that is not done is canceled first."""
    settings = load_settings()
    if not yes:
        typer.confirm(f"Delete job {job_id} with its data?", abort=True)
    asyncio.run(_delete(settings, job_id))
    say(open_console(), f"Deleted {job_id}.")


async def _look(settings: Settings) -> tuple[list[ModelStatus], int]:
    async with producer_of(settings) as (producer, dead_letters):
        _, n_dead = await dead_letters.list_dead(limit=1)
        return await producer.models(), n_dead


async def _delete(settings: Settings, job_id: str) -> None:
    async with producer_of(settings) as (producer, _):
        if not await producer.delete(job_id):
            raise NotFoundError(f"no job {job_id!r}")


def _gates(status: ModelStatus) -> str:
    gates = [name for name, is_shut in (("paused", status.is_paused), ("draining", status.is_draining)) if is_shut]
    return ", ".join(gates) or "open"
