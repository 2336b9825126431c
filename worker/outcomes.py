"""What both execution modes share: how a failed job is recorded, and the time that each stage takes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferry.jobs import ClaimedJob, Outcome

# An error message is kept to this many characters: onnxruntime's can hold a whole graph.
MAX_ERROR_CHARS = 2000

# Of one run: batch id, rows, jobs, and how long it took in µs (0 where nothing ran).
Run = tuple[str, int, int, int]

logger = logging.getLogger(__name__)


class StageTimes:
    """Seconds by stage: decode, assemble, infer, split."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time until the context ends to a stage."""
        started = self._clock()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + self._clock() - started

    def take(self) -> dict[str, float]:
        """Return the times since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds


def failed(job: ClaimedJob, run: Run, code: str, message: str) -> Outcome:
    """Return the outcome of a job that failed, and log it without the message, which may quote rows of the job."""
    # A message that is no Unicode text could not be recorded, nor could the outcomes beside it.
    error = message[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode("utf-8")
    logger.warning("job %s failed in batch %s: %s; its record has the message", job.id, run[0], code)
    return Outcome(job.id, *run, job.attempt, job.started_us, error_code=code, error=error)
