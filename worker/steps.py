"""Celery bootstep: between tasks, keep the loaded models and the consumed queues equal to the model repository."""

import logging
from typing import Any, ClassVar

from celery import bootsteps

from ferry.queue.keys import ticket_queue
from worker.pulse import Pulse, try_to
from worker.serving import Changes, Shelf

REFRESH_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def follow_repository(shelf: Shelf, pulse: Pulse) -> type[bootsteps.StartStopStep]:
    """Return the step for this worker's shelf and pulse; Celery makes the instance itself."""

    class FollowRepository(bootsteps.StartStopStep):  # type: ignore[misc]
        """Runs on the worker's event loop, so never while a batch runs."""

        requires: ClassVar[set[str]] = {"celery.worker.consumer.tasks:Tasks"}

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self._timer: Any = None
            # Whose tickets this worker takes: all it serves, but for versions that are registered with other files.
            self._followed: set[tuple[str, str]] = set()

        def start(self, parent: Any) -> None:
            """Begin to look; called again after each reconnect, when the old timer is gone."""
            self._followed = self._followed or set(shelf.keys())
            self._timer = parent.timer.call_repeatedly(REFRESH_EVERY_S, self._refresh, (parent,))

        def stop(self, parent: Any) -> None:  # noqa: ARG002  Celery's signature
            """Stop looking."""
            if self._timer is not None:
                self._timer.cancel()

        def _refresh(self, consumer: Any) -> None:
            changes = shelf.refresh()
            for model in changes.unloaded:
                logger.info("no longer serving %s:%s", *model)
            wanted = {model for model in shelf.keys() if not shelf.is_other(model)}  # noqa: SIM118  no dictionary
            for model in wanted - self._followed:
                consumer.add_task_queue(ticket_queue(*model))
            for model in self._followed - wanted:
                consumer.cancel_task_queue(ticket_queue(*model))
            self._followed = wanted
            if changes != Changes():
                try_to(pulse.beat, "could not say what is served now")

    return FollowRepository
