"""Celery's consumer, which connects only when Redis answers and has memory to spare.

Celery itself waits longer from try to try, up to half a minute, and a Redis that is back would wait for it. Kombu
writes some bytes of its own as it connects, and a Redis with no memory left refuses them, again and again. What fills
it are the inputs that wait for just this worker. So they are served first: a finished job's input is deleted.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from ferry.errors import QueueUnavailableError
from worker.messages import CheckArgs, drop, why_not_a_task

# While Redis is away, or is full though nothing waits (of results that have not expired), it is looked at this often.
LOOK_EVERY_S = 0.5
FULL = "Redis has no memory left, and what waits is served first"

logger = logging.getLogger(__name__)


def connects_with_room(
    is_full: Callable[[], bool],
    serve: Callable[[], int],
    *,
    checks: Mapping[str, CheckArgs],
    sleep: Callable[[float], None] = time.sleep,
) -> type[Consumer]:
    """Return the class for Celery's `worker_consumer`: it serves until Redis is no longer full, then connects.

    `is_full` raises QueueUnavailableError while Redis is away. `serve` runs what waits, without Celery, and returns how
    many jobs it ran. checks: see `worker.messages.why_not_a_task`; other messages are dropped.
    """

    class RoomFirst(Consumer):  # type: ignore[misc]
        """Connects, at start and after every outage."""

        def connect(self) -> Any:
            """Return the broker connection, once Redis has memory for it."""
            self._wait_for_room()
            return super().connect()

        def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
            """Return Celery's handler of task messages, which drops what is no task of this worker."""
            handle = super().create_task_handler(*args, **kwargs)

            def handle_a_task(message: Any) -> Any:
                if reason := why_not_a_task(message.headers, message.body, checks):
                    return drop(message, reason)
                return handle(message)

            return handle_a_task

        def _wait_for_room(self) -> None:
            said = ""
            while trouble := _trouble(is_full):
                if trouble != said:
                    logger.warning("not connected yet: %s", trouble)
                said = trouble
                maybe_shutdown()
                if trouble != FULL or not serve():
                    sleep(LOOK_EVERY_S)

    return RoomFirst


def _trouble(is_full: Callable[[], bool]) -> str:
    """Return what is in the way of a connection; empty where nothing is."""
    try:
        return FULL if is_full() else ""
    except QueueUnavailableError as error:
        return str(error)
