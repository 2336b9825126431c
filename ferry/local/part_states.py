"""`parts.json` in the data folder: which parts of `ferry up` run, and why one does not. The API shows it.

Only `ferry up` writes it; other ways to run Ferry have supervisors of their own, and no such file.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ferry.local.private_files import write_private

PARTS_FILE = "parts.json"


@dataclass(frozen=True, slots=True)
class PartState:
    """One part. restarts: how often it was started again. reason: how it ended last; "" where it never did."""

    name: str
    is_up: bool = True
    restarts: int = 0
    reason: str = ""


class PartStates:
    """Keeps the states of the parts of one stack, and hands each change on."""

    def __init__(self, save: Callable[[list[PartState]], None] = lambda _: None) -> None:
        self._states: dict[str, PartState] = {}
        self._save = save

    def note_start(self, name: str) -> None:
        """Take in that a part was started."""
        before = self._states.get(name)
        self._states[name] = replace(before, is_up=True, restarts=before.restarts + 1) if before else PartState(name)
        self._save(list(self._states.values()))

    def note_end(self, name: str, reason: str) -> None:
        """Take in that a part ended by itself and waits for its next start."""
        before = self._states.get(name, PartState(name))
        self._states[name] = replace(before, is_up=False, reason=reason)
        self._save(list(self._states.values()))


def save_states(folder: Path, states: list[PartState]) -> None:
    """Write the states to a data folder; a disk without room costs the file, not the stack."""
    content = {"pid": os.getpid(), "parts": [asdict(state) for state in states]}
    try:
        write_private(folder / PARTS_FILE, json.dumps(content))
    except OSError:
        return


def read_states(folder: Path) -> list[PartState]:
    """Return the states of the parts of the stack on this data folder; none where no `ferry up` runs on it."""
    try:
        content = json.loads((folder / PARTS_FILE).read_bytes())
        # A stack that was killed leaves its file behind.
        return [PartState(**state) for state in content["parts"]] if _is_alive(content["pid"]) else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
