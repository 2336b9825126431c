"""`ferry keys`: make, list and revoke the API keys of the stack that runs."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ferry.access import ApiKey, check_name, scopes_from
from ferry.cli.groups import Group
from ferry.cli.live_queue import key_book_of
from ferry.cli.model_tables import open_console, say
from ferry.settings import load_settings

app = typer.Typer(cls=Group, help="Make, list and revoke API keys.", no_args_is_help=True)


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
        state = f"revoked {_when(key.revoked_us)}" if key.revoked_us is not None else "in force"
        table.add_row(
            key.id, Text(key.name), Text(key.owner), ", ".join(sorted(key.scopes)), _limits(key), _when(key.created_us),
            state,
        )  # fmt: skip
    console.print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `ferry keys list` shows it.")]) -> None:
    """End a key; within a second it is refused everywhere. What it made stays its owner's."""
    with key_book_of(load_settings()) as book:
        key = book.revoke(key_id)
    say(open_console(), f"Key {key.id} ({key.name}) is revoked.")


def _limits(key: ApiKey) -> str:
    parts = []
    if key.rate_per_s is not None:
        parts.append(f"{key.rate_per_s:g}/s")
    if key.max_unfinished is not None:
        parts.append(f"{key.max_unfinished:,} unfinished")
    return ", ".join(parts) or "none"


def _when(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
