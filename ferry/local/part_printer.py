"""Where the lines of the parts go: terminal, log file, and a short memory per part. Knows nothing of processes."""

import logging
import select
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from ferry.local.private_files import TAIL_LINES

LOG_LIMIT_BYTES = 10 * 2**20
LOG_KEPT_FILES = 3
# How long a terminal that takes nothing (Ctrl-S, a pager) is waited for, once. Waiting on would stop the parts: each
# blocks as soon as the pipe that it writes its lines to is full.
TERMINAL_PATIENCE_S = 1.0
# Numbers of ECMA-48's "select graphic rendition", easy to tell apart on dark and on light.
PART_COLOURS = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")


@dataclass(frozen=True, slots=True)
class Message:
    """One or more lines of one part; a `colour` is one of PART_COLOURS, for the prefix."""

    name: str
    data: bytes | str
    time: datetime
    colour: str | None = None


class PartPrinter:
    """Takes messages from several threads; set `width` to the longest name's length, for the lines to align."""

    def __init__(self, log: Path, terminal: TextIO, *, is_quiet: bool = False) -> None:
        self.width = 0
        self._terminal = terminal
        self._is_quiet = is_quiet
        self._is_colourful = terminal.isatty()
        self._n_unshown_lines = 0
        self._log = RotatingFileHandler(log, maxBytes=LOG_LIMIT_BYTES, backupCount=LOG_KEPT_FILES, encoding="utf-8")
        self._tails: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=TAIL_LINES))
        self._lock = threading.Lock()

    def write(self, message: Message) -> None:
        """Take one message: all of it to the log, and to the terminal unless quiet."""
        data = message.data
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        name = f"{message.name:<{self.width}}"
        stamp = message.time.isoformat(sep=" ", timespec="milliseconds")
        prefix = f"{message.time:%H:%M:%S} {name} | "
        if self._is_colourful and message.colour:
            prefix = f"\N{ESCAPE}[{message.colour}m{prefix}\N{ESCAPE}[0m"
        with self._lock:
            for line in text.splitlines():
                self._tails[message.name].append(line)
                self._log.emit(logging.makeLogRecord({"msg": f"{stamp} {name} | {line}"}))
                if not self._is_quiet:
                    self._show(f"{prefix}{line}\n")

    def say(self, text: str) -> None:
        """Show a text to the user as it is, even when quiet."""
        with self._lock:
            self._show(f"{text}\n")

    def tail(self, name: str) -> list[str]:
        """Return the last lines of a part."""
        with self._lock:
            return list(self._tails[name])

    def close(self) -> None:
        """Close the log file."""
        self._log.close()

    def _show(self, text: str) -> None:
        # A terminal that is gone (hang-up, `| head`) must not take the stack's orderly end with it.
        try:
            if not self._takes_more():
                self._n_unshown_lines += text.count("\n")
                return
            if self._n_unshown_lines:
                self._terminal.write(
                    f"({self._n_unshown_lines} lines were left out here, since nobody took them; see the log)\n"
                )
                self._n_unshown_lines = 0
            self._terminal.write(text)
            self._terminal.flush()
        except OSError:
            self._is_quiet = True

    def _takes_more(self) -> bool:
        try:
            fd = self._terminal.fileno()
        except (OSError, ValueError):  # no file stands behind it
            return True
        patience_s = 0.0 if self._n_unshown_lines else TERMINAL_PATIENCE_S
        return bool(select.select([], [fd], [], patience_s)[1])
