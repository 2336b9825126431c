"""Tells the queue which models this worker cannot serve. Knows neither files nor onnxruntime."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from ferry.errors import ModelRefusedError
from worker.pulse import try_to

ModelKey = tuple[str, str]
# A report counts for 30 s (BROKEN_KEPT_MS): one that is lost harms nothing.
REPEAT_S = 10.0


class Reports(Protocol):
    """What the reporter needs of the queue (ferry.queue.consumer.Consumer)."""

    def report_broken(self, broken: Mapping[ModelKey, str], before: Collection[ModelKey] = ()) -> None:
        """Say which models this worker cannot serve; `before`: those that it said last."""


class Sound(Protocol):
    """What the reporter needs of the loaded models (worker.serving.Shelf)."""

    @property
    def broken(self) -> dict[ModelKey, str]:
        """Reasons by (name, version)."""

    @property
    def has_nothing_left(self) -> bool:
        """Whether every version is broken."""


class BrokenReporter:
    """Tells the queue which models this worker cannot serve: at each change, and every REPEAT_S while it has any."""

    def __init__(self, heart: Reports, shelf: Sound, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._heart = heart
        self._shelf = shelf
        self._clock = clock
        self._reported: dict[ModelKey, str] = {}
        self._due = 0.0

    def report(self) -> None:
        """Report what is broken now.

        Raises:
            QueueUnavailableError: Redis did not answer; the next heartbeat repeats it.
        """
        broken, now = self._shelf.broken, self._clock()
        if broken != self._reported or (broken and now >= self._due):
            self._heart.report_broken(broken, self._reported)
            self._reported, self._due = broken, now + REPEAT_S


def refuse_without_a_model(shelf: Sound, reporter: BrokenReporter) -> None:
    """Refuse to start where every model is broken: nothing would ever be served.

    Raises:
        ModelRefusedError: each model with its reason, on one line.
    """
    if not shelf.has_nothing_left:
        return
    try_to(reporter.report, "the broken models could not be reported")
    reasons = "; ".join(f"{name}:{version}: {reason}" for (name, version), reason in shelf.broken.items())
    raise ModelRefusedError(f"every model is broken, so there is nothing to serve: {reasons}")
