"""Celery's consumer, which connects only when Redis has memory to spare.

Kombu writes some bytes of its own as it connects, and a Redis with none left refuses them, again and again. What fills
it are the inputs that wait for just this worker. So they are served first: a finished job's input is deleted.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from ferry.errors import QueueUnavailableError

# While nothing waits and Redis is still full (of results that have not expired) it looks again this often.
LOOK_EVERY_S = 0.5

logger = logging.getLogger(__name__)


def connects_with_room(
    is_full: Callable[[], bool], serve: Callable[[], int], *, sleep: Callable[[float], None] = time.sleep
) -> type[Consumer]:
    """Return the class for Celery's `worker_consumer`: it serves until Redis is no longer full, then connects.

    `is_full` may raise QueueUnavailableError; connecting then is Celery's affair. `serve` runs what waits, without
    Celery, and returns how many jobs it ran.
    """

    class RoomFirst(Consumer):  # type: ignore[misc]
        """Connects, at start and after every outage."""

        def connect(self) -> Any:
            """Return the broker connection, once Redis has memory for it."""
            self._wait_for_room()
            return super().connect()

        def _wait_for_room(self) -> None:
            is_new = True
            while _is_so(is_full):
                if is_new:
                    logger.warning("Redis has no memory left: serving what waits before Celery connects")
                is_new = False
                maybe_shutdown()
                if not serve():
                    sleep(LOOK_EVERY_S)

    return RoomFirst


def _is_so(is_full: Callable[[], bool]) -> bool:
    try:
        return is_full()
    except QueueUnavailableError:
        return False
