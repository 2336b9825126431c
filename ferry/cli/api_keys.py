"""`ferry keys`: make, list, replace and revoke the API keys of the stack that runs; erase an owner."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ferry.access import ApiKey, check_name, scopes_from
from ferry.cli.groups import Group
from ferry.cli.live_queue import eraser_of, key_book_of
from ferry.cli.model_tables import open_console, say
from ferry.erasure import Erasure
from ferry.errors import InvalidInputError
from ferry.settings import load_settings

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# A longer overlap is no rotation.
MAX_OVERLAP_S = 90 * 86_400

app = typer.Typer(cls=Group, help="Make, list, replace and revoke API keys; erase an owner.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, such as `ci` or `web`.")],
    owner: Annotated[
        str, typer.Option(help="Whose jobs, files and batches it makes and sees; the name, if left out.")
    ] = "",
    scopes: Annotated[str, typer.Option(help="What it may do: submit, read, admin, metrics.")] = "submit,read",
    rate: Annotated[float | None, typer.Option(min=0.001, help="Jobs a second; more get 429.")] = None,
    unfinished: Annotated[int | None, typer.Option(min=1, help="Jobs waiting or running; more get 429.")] = None,
) -> None:
    """Make a key and print it, the only time. It is all that goes to standard output."""
    check_name(name, "name")
    owner = check_name(owner or name, "owner")
    given = scopes_from(scopes)
    with key_book_of(load_settings()) as book:
        made, text = book.create(name, owner=owner, scopes=given, rate_per_s=rate, max_unfinished=unfinished)
    typer.echo(f"key {made.id} of {owner}: {', '.join(sorted(given))}. Keep it, it is not shown again:", err=True)
    typer.echo(text)


@app.command("list")
def list_keys() -> None:
    """List every key, revoked ones too; no secret is known here."""
    with key_book_of(load_settings()) as book:
        found = book.list_all()
    console = open_console()
    if not found:
        say(console, "There are no keys; `ferry keys create NAME` makes one.")
        return
    table = Table("id", "name", "owner", "scopes", "limits", "made", "state")
    for key in found:
        table.add_row(
            key.id, Text(key.name), Text(key.owner), ", ".join(sorted(key.scopes)), _limits(key), _when(key.created_us),
            _state(key),
        )  # fmt: skip
    console.print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `ferry keys list` shows it.")]) -> None:
    """End a key; within a second it is refused everywhere. What it made stays its owner's."""
    with key_book_of(load_settings()) as book:
        key = book.revoke(key_id)
    say(open_console(), f"Key {key.id} ({key.name}) is revoked.")


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `ferry keys list` shows it.")],
    overlap: Annotated[
        str, typer.Option(help="How long the old key works: 90s, 30m, 24h, 7d; 0s ends it now.")
    ] = "24h",
) -> None:
    """Replace a key by a new one of the same owner, scopes and limits; the old one works for the overlap.

    Only the new key goes to standard output. Both count against the same limits.
    """
    overlap_s = seconds_from(overlap)
    with key_book_of(load_settings()) as book:
        old, made, text = book.rotate(key_id, overlap_s=overlap_s)
    ends = (
        f"works until {_when(old.ends_us)} UTC" if overlap_s and old.ends_us is not None else "is refused from now on"
    )
    typer.echo(
        f"key {made.id} of {made.owner} replaces {old.id}, which {ends}. Keep it, it is not shown again:", err=True
    )
    typer.echo(text)


@app.command()
def erase(
    owner: Annotated[str, typer.Argument(help="As `ferry keys list` shows it.")],
    *,
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke the owner's keys first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase everything of an owner: jobs, dead letters, batches, files and keys. It cannot be undone."""
    check_name(owner, "owner")
    found = asyncio.run(_count(owner))
    if dry_run or found.is_empty:
        say(open_console(), f"{owner} has {_numbers(found)}.")
        return
    if not yes:
        typer.confirm(f"Erase {owner}: {_numbers(found)}?", abort=True, err=True)
    erased = asyncio.run(_erase(owner, is_revoking=revoke))
    say(open_console(), f"Erased of {owner}: {_numbers(erased)}.")


async def _count(owner: str) -> Erasure:
    async with eraser_of(load_settings()) as eraser:
        return await eraser.count(owner)


async def _erase(owner: str, *, is_revoking: bool) -> Erasure:
    async with eraser_of(load_settings()) as eraser:
        return await eraser.erase(owner, is_revoking=is_revoking)


def _numbers(erased: Erasure) -> str:
    return (
        f"{erased.jobs:,} jobs ({erased.dead_letters:,} dead letters), {erased.batches:,} batches, "
        f"{erased.files:,} files, {erased.keys:,} keys"
    )


def seconds_from(text: str) -> int:
    """Return the seconds of a duration such as 90s, 30m, 24h or 7d.

    Raises:
        InvalidInputError: it is none, or longer than MAX_OVERLAP_S.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else -1
    if not 0 <= seconds <= MAX_OVERLAP_S:
        raise InvalidInputError.at("overlap", f"{text[:40]!r}: expected 90s, 30m, 24h or 7d, 90d at most")
    return seconds


def _state(key: ApiKey) -> str:
    if key.revoked_us is not None:
        return f"revoked {_when(key.revoked_us)}"
    return f"works until {_when(key.ends_us)}" if key.ends_us is not None else "in force"


def _limits(key: ApiKey) -> str:
    parts = []
    if key.rate_per_s is not None:
        parts.append(f"{key.rate_per_s:g}/s")
    if key.max_unfinished is not None:
        parts.append(f"{key.max_unfinished:,} unfinished")
    return ", ".join(parts) or "none"


def _when(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
