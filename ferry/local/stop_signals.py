"""Ctrl-C, SIGTERM and SIGHUP as a count that loops look at. Knows nothing of what is to be stopped."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Counts requests to stop while it is entered: the first asks for an orderly end, the second for a hard one.

    A handler only counts: printing or locking in it could meet the very line it interrupted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in STOPPING}
        for number in STOPPING:
            # nohup starts us with SIGHUP ignored, and that is the user's wish.
            if number != signal.SIGHUP or self._before[number] != signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_set(self) -> bool:
        """Whether anyone asked to stop."""
        return self.count > 0

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        # Forked children carry this handler until they set their own; only the parent decides.
        if os.getpid() == self._pid:
            self.count += 1
