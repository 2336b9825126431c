"""`ferry up`: Redis, API, workers and Flower on this machine."""

from typing import Annotated

import typer

from ferry.open_files import raise_open_files_limit
from ferry.settings import load_settings


def up(
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show the addresses and errors alone; the rest is in the log.")
    ] = False,
) -> None:
    """Start Redis, API, workers and Flower; Ctrl-C stops them.

    Settings are read from the environment (FERRY_...) and from .env. A port that is taken is replaced by a free one.
    """
    # The process manager is installed with the runtime, not with the client library.
    from ferry.local.stack import run_stack  # noqa: PLC0415

    raise_open_files_limit()  # its processes inherit it
    raise typer.Exit(run_stack(load_settings(), is_quiet=quiet))
