"""An event loop whose clock jumps over idle time: a test waits a minute of it and takes a millisecond.

Its time starts at 0 and stands still while anything can run, so a test may compare times exactly. Work in other
threads is not waited for, but for the look at the model folder: a timer fires as soon as the loop itself has nothing to
do.
"""

import asyncio
import selectors
import threading
from typing import Any

from api.model_folder import THREAD_NAME


class _SkippingSelector(selectors.DefaultSelector):
    """Takes a timeout as passed when there is nothing to read."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        while not ready and any(thread.name == THREAD_NAME for thread in threading.enumerate()):
            ready = super().select(0.001)
        if not ready:
            self.now += max(timeout, 0.0)
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """Pass as `loop_factory`."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now
