"""Tells the queue which models this worker cannot serve. Knows neither files nor onnxruntime."""

from collections.abc import Mapping
from typing import Protocol

from ferry.errors import ModelRefusedError
from worker.pulse import try_to

ModelKey = tuple[str, str]


class Reports(Protocol):
    """What the reporter needs of the queue (ferry.queue.consumer.Consumer)."""

    def report_broken(self, broken: Mapping[ModelKey, str]) -> None:
        """Say which models this worker cannot serve."""


class Sound(Protocol):
    """What the reporter needs of the loaded models (worker.serving.Shelf)."""

    @property
    def broken(self) -> dict[ModelKey, str]:
        """Reasons by (name, version)."""

    @property
    def has_nothing_left(self) -> bool:
        """Whether every version is broken."""


class BrokenReporter:
    """Tells the queue which models this worker cannot serve: at each heartbeat while it has any, and once after."""

    def __init__(self, heart: Reports, shelf: Sound) -> None:
        self._heart = heart
        self._shelf = shelf
        self._has_reported = False

    def report(self) -> None:
        """Report what is broken now.

        Raises:
            QueueUnavailableError: Redis did not answer; the next heartbeat repeats it.
        """
        broken = self._shelf.broken
        if broken or self._has_reported:
            self._heart.report_broken(broken)
            self._has_reported = bool(broken)


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
