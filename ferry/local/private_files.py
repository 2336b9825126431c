"""Small files that only their owner may read, and the ends of logs. Knows nothing of what they hold."""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

TAIL_LINES = 20


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step, so that a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """Return the file's text, which `make` writes where there is none yet."""
    if not path.exists():
        write_private(path, make())
    return path.read_text(encoding="utf-8")


def tail_of(path: Path, n_lines: int = TAIL_LINES) -> list[str]:
    """Return the last lines of a text file; none where it is missing."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, n_lines)]
