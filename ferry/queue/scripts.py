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
        "MEMORY_LOOK_BYTES", "SPARED", "NOTHING", "UNFINISHED", "RATE",
        "ALIASES", "UNLOADED", "STEPS_ALONE", "STEP_FORMAT_VERSION",
    )
}  # fmt: skip
# What the scripts that know of bulk batches need beside; they have `bulk.lua` in front of them too.
_BULK_CONSTANTS = {
    name: getattr(keys, name)
    for name in (
        "BATCH", "BATCHES", "BATCH_ENDS", "BATCH_OPEN", "BATCH_PARTS", "BULK_WINDOW", "RATE_OVER_S", "FILE", "FILES",
        "FILES_OF", "FILES_BY", "FILE_ENDS", "LATE_PARTS_MS", "TALLY", "BATCHES_BY", "BATCHES_GONE",
        "FORGOTTEN_AT_ONCE",
    )
}  # fmt: skip
_KNOW_BULK = frozenset({"lapse", "purge", "batch_open", "batch_cancel", "step_settle", "step_between"})
# What API keys bring in is held to their limits.
_KNOW_LIMITS = frozenset({"submit", "batch_open"})


def _lua(value: str | int) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


@cache
def script(name: str) -> str:
    """Return the text of script `name` (a file in `lua/`), ready for EVAL."""
    folder = files("ferry.queue") / "lua"
    constants, texts = _CONSTANTS, ["prelude"]
    if name in _KNOW_LIMITS:
        texts.append("limits")
    if name in _KNOW_BULK:
        constants = _CONSTANTS | _BULK_CONSTANTS
        texts.append("bulk")
    texts.append(name)
    head = "".join(f"local {key} = {_lua(value)}\n" for key, value in constants.items())
    return head + "".join((folder / f"{text}.lua").read_text("utf-8") for text in texts)
