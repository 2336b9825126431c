"""Gathers concurrent submits into one script call. One call is in flight; what comes meanwhile goes with the next."""

import logging
from collections.abc import Sequence
from typing import Protocol

from ferry.errors import QueueUnavailableError
from ferry.jobs import Receipt, Submission
from ferry.queue.grouping import Grouping

# One script call holds Redis for all its jobs; these bound how long.
MAX_GROUP_JOBS = 256
MAX_GROUP_BYTES = 8 * 2**20
ATTEMPTS = 2

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """What the submitter needs of the queue (ferry.queue.producer.Producer)."""

    async def submit(self, submissions: Sequence[Submission]) -> list[Receipt]:
        """Enqueue all in one round trip; safe to repeat."""


class Submitter:
    """Turns single submits into group calls."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._grouping: Grouping[Submission, Receipt] = Grouping(
            self._call, max_items=MAX_GROUP_JOBS, size_of=lambda job: len(job.payload), max_bytes=MAX_GROUP_BYTES
        )

    async def submit(self, submission: Submission) -> Receipt:
        """Enqueue one job, together with those of other callers.

        A caller that goes away takes only its own answer with it, never the group's call.

        Raises:
            QueueUnavailableError: Redis did not answer in time; the job may have been accepted all the same.
        """
        return await self._grouping.ask(submission)

    async def _call(self, submissions: list[Submission]) -> list[Receipt]:
        """Call once more after a lost reply: jobs that were accepted are known by their ids and not queued twice."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._sink.submit(submissions)
            except QueueUnavailableError as error:
                if attempt == ATTEMPTS:
                    raise
                logger.info("submitting %d jobs again: %s", len(submissions), error)
        raise AssertionError("unreachable")
