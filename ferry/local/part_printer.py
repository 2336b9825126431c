"""Where the lines of the parts go: terminal, log file, and a short memory per part. Knows nothing of processes."""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from honcho.printer import Message, Printer

from ferry.local.private_files import TAIL_LINES

LOG_LIMIT_BYTES = 10 * 2**20
LOG_KEPT_FILES = 3


class PartPrinter:
    """A printer for honcho's Manager, which sets `width` and calls `write`; safe to use from several threads."""

    def __init__(self, log: Path, terminal: TextIO, *, is_quiet: bool = False) -> None:
        self.width = 0
        self._terminal = terminal
        self._is_quiet = is_quiet
        self._printer = Printer(terminal)
        self._log = RotatingFileHandler(log, maxBytes=LOG_LIMIT_BYTES, backupCount=LOG_KEPT_FILES, encoding="utf-8")
        self._tails: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=TAIL_LINES))
        self._lock = threading.Lock()

    def write(self, message: Message) -> None:
        """Take one message of honcho's (one or more lines of one part)."""
        data = message.data
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        with self._lock:
            for line in text.splitlines():
                self._tails[message.name].append(line)
                stamp = message.time.isoformat(sep=" ", timespec="milliseconds")
                self._log.emit(logging.makeLogRecord({"msg": f"{stamp} {message.name:<{self.width}} | {line}"}))
            if not self._is_quiet:
                self._printer.width = self.width
                self._guarded(lambda: self._printer.write(message))

    def say(self, text: str) -> None:
        """Show a text to the user as it is, even when quiet."""
        with self._lock:
            self._guarded(lambda: print(text, file=self._terminal, flush=True))

    def tail(self, name: str) -> list[str]:
        """Return the last lines of a part."""
        with self._lock:
            return list(self._tails[name])

    def close(self) -> None:
        """Close the log file."""
        self._log.close()

    def _guarded(self, show: Callable[[], None]) -> None:
        # A terminal that is gone (hang-up, `| head`) must not take the stack's orderly end with it.
        try:
            show()
        except OSError:
            self._is_quiet = True
