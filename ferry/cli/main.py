"""The `ferry` command: puts the subcommands together and turns errors into one line."""

import os
import sys
from importlib.metadata import version as version_of

import typer

from ferry.cli import api_keys, batch, dead, models, queues
from ferry.cli.demo import demo
from ferry.cli.groups import Group
from ferry.cli.up import up
from ferry.errors import FerryError
from ferry.loopback import exempt_loopback

DISTRIBUTION = "ferry-inference"

# Typer's own tracebacks print local variables, an API key among them.
app = typer.Typer(
    name="ferry", cls=Group, help="A durable queue for model inference.", no_args_is_help=True,
    pretty_exceptions_enable=False,
)  # fmt: skip
app.command()(up)
app.command()(demo)
app.add_typer(models.app, name="models")
app.add_typer(batch.app, name="batch")
app.add_typer(queues.app, name="queue")
app.add_typer(dead.app, name="dead")
app.add_typer(api_keys.app, name="keys")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"ferry {version_of(DISTRIBUTION)}")


def main() -> None:
    """Run the command line; a FerryError is one line on stderr and exit status 1."""
    exempt_loopback(os.environ)
    try:
        app()
    except FerryError as error:
        typer.echo(f"ferry: {error.detail}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
