"""The Lua scripts, each with the shared prelude and the key names put in front. Knows nothing of who calls them."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis
import redis.asyncio

from ferry.queue import keys as constants
from ferry.queue.keys import Keys

_NAMES: tuple[str, ...] = (
    "JOB", "INPUT", "WAITING", "ALONE", "BACKLOG", "CLAIM", "LEASES", "DEADLINES", "MODELS", "MODEL", "LIVE", "COUNTS",
    "TICKETS", "KEEPER", "SETTLED", "TOTAL", "MEMORY", "DEAD", "SPARED", "NOTHING", "UNFINISHED", "RATE", "ALIASES",
    "UNLOADED", "STEPS_ALONE", "OTHER", "BROKEN", "CLOCK", "UNSURE",
)  # fmt: skip
_CONSTANTS: tuple[str, ...] = (
    "FORMAT_VERSION", "CLAIMED_INPUT_BYTES", "PUBLISH_MAX_BYTES", "LIVE_MS", "KEEPER_LOCK_MS", "TICKET_ID",
    "MEMORY_FULL_PERCENT", "MEMORY_LOOK_MS", "MEMORY_LOOK_BYTES", "STEP_FORMAT_VERSION", "BROKEN_KEPT_MS",
    "LOOKED_THROUGH", "AHEAD_US",
)  # fmt: skip
# What the scripts that know of bulk batches need beside; they have `bulk.lua` in front of them too.
_BULK_NAMES = (
    "BATCH", "BATCHES", "BATCH_ENDS", "BATCH_OPEN", "BATCH_PARTS", "FILE", "FILES", "FILES_OF", "FILES_BY", "FILE_ENDS",
    "TALLY", "BATCHES_BY", "BATCHES_GONE",
)  # fmt: skip
_BULK_CONSTANTS = ("BULK_WINDOW", "RATE_OVER_S", "LATE_PARTS_MS", "FORGOTTEN_AT_ONCE")
_KNOW_BULK = frozenset(
    {"expire", "lapse", "purge", "batch_open", "batch_cancel", "batch_erase", "step_settle", "step_between", "recount"}
)
# What API keys bring in is held to their limits.
_KNOW_LIMITS = frozenset({"submit", "batch_open"})
_KNOW_DIGESTS = frozenset({"beat", "register"})


def _lua(value: str | int) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


@cache
def script(name: str, keys: Keys) -> str:
    """Return the text of script `name` (a file in `lua/`) for one namespace, ready for EVAL."""
    folder = files("ferry.queue") / "lua"
    names, numbers, texts = _NAMES, _CONSTANTS, ["prelude"]
    if name in _KNOW_LIMITS:
        texts.append("limits")
    if name in _KNOW_DIGESTS:
        texts.append("digests")
    if name in _KNOW_BULK:
        names, numbers = names + _BULK_NAMES, numbers + _BULK_CONSTANTS
        texts.append("bulk")
    texts.append(name)
    values = {each: getattr(keys, each.lower()) for each in names}
    values |= {each: getattr(constants, each) for each in numbers}
    head = "".join(f"local {each} = {_lua(value)}\n" for each, value in values.items())
    return head + "".join((folder / f"{text}.lua").read_text("utf-8") for text in texts)


class Script:
    """A script of one namespace, for calls that declare one key of it.

    The key tells a cluster which node the call is for. A call without one fails on a node that lost the slot, and in
    Valkey 9.1.2 that makes every later script of that node fail as well.
    """

    def __init__(self, redis: "redis.Redis | redis.asyncio.Redis", name: str, keys: Keys) -> None:
        self._call = redis.register_script(script(name, keys))
        self._key = keys.nothing

    def __call__(self, args: Sequence[Any]) -> Any:
        """Run it, or return what is to be awaited on an event loop. Where Redis does not know the script, load it."""
        return self._call(keys=[self._key], args=args)

    def queue_in(self, pipe: Any, args: Sequence[Any]) -> None:
        """Add a call to a pipeline; where Redis does not know the script, its reply is a NoScriptError."""
        pipe.evalsha(*self.by_sha(args))

    def by_sha(self, args: Sequence[Any]) -> list[Any]:
        """Return the arguments of EVALSHA."""
        return [self._call.sha, 1, self._key, *args]
