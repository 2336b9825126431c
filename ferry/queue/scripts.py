"""The Lua scripts, each with the shared prelude and the key names put in front. Knows nothing of who calls them."""

from functools import cache
from importlib.resources import files

from ferry.queue import keys

_CONSTANTS = {
    name: getattr(keys, name)
    for name in (
        "JOB", "INPUT", "WAITING", "ALONE", "BACKLOG", "CLAIM", "LEASES", "DEADLINES", "MODELS", "MODEL", "LIVE",
        "COUNTS", "TICKETS", "KEEPER", "SETTLED", "TOTAL", "MEMORY", "DEAD", "FORMAT_VERSION", "CLAIMED_INPUT_BYTES",
        "PUBLISH_MAX_BYTES", "LIVE_MS", "KEEPER_LOCK_MS", "TICKET_ID", "MEMORY_FULL_PERCENT", "MEMORY_LOOK_MS",
        "MEMORY_LOOK_BYTES", "SPARED", "NOTHING",
    )
}  # fmt: skip


def _lua(value: str | int) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


@cache
def script(name: str) -> str:
    """Return the text of script `name` (a file in `lua/`), ready for EVAL."""
    folder = files("ferry.queue") / "lua"
    constants = "".join(f"local {key} = {_lua(value)}\n" for key, value in _CONSTANTS.items())
    return constants + (folder / "prelude.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")
