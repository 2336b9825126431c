"""Groups of commands whose help shows no type for options without a value. Knows no command.

typer has click inside and does not export its types, hence Any.
"""

from typing import Any

from typer.core import TyperGroup, TyperOption


class Group(TyperGroup):
    """A group: of it and of its commands, `--help` and `--follow` stand in the help without `<bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the group's own options."""
        return _without_type(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command of the group."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_type(command.get_params(ctx))
        return command


def _without_type(params: list[Any]) -> list[Any]:
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params
