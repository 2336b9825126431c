"""Between two slices of a bulk step: keep its claim, learn whether it is still wanted, and serve who waits meanwhile.

Knows nothing of files or models' runs.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from ferry.bulk.batch_records import Place
from ferry.bulk.steps import Held, Meanwhile
from ferry.errors import QueueUnavailableError
from ferry.jobs import CLASS_SHARE

# A step looks up this often. Who waits is heard of at the next look and served, so two slices later at most.
SLICE_S = 0.004

logger = logging.getLogger(__name__)

ModelKey = tuple[str, str]


class StepEndedError(Exception):
    """The step is to be left where it stands: it is another's, is not needed any more, or the worker stops."""


class StepLostError(StepEndedError):
    """Its claim lapsed."""


class StepStoppedError(StepEndedError):
    """The batch is to end without it."""


class StepReleasedError(StepEndedError):
    """This worker must stop."""


class Asker(Protocol):
    """What an interlude needs of the queue (ferry.bulk.steps.Steps)."""

    def between(self, held: Held, place: Place, served: Iterable[ModelKey]) -> Meanwhile:
        """Say where the step stands from now on, and hear who waits."""

    def ask(self, held: Held, place: Place, served: Iterable[ModelKey]) -> Callable[[], Meanwhile]:
        """The same, answered when it is asked for."""


class Keeping(Protocol):
    """Who keeps the step's lease (worker.pulse.Pulse)."""

    @property
    def is_leaving(self) -> bool:
        """Whether this worker must stop."""

    def touch(self, token: str) -> None:
        """Say that a held claim gets on."""


# Serves the waiting jobs of one model until a time of the clock.
Serve = Callable[[ModelKey, float], None]


class Interlude:
    """The pauses of one step. To be used by the thread that made it; on others nothing happens."""

    def __init__(
        self,
        held: Held,
        steps: Asker,
        keeping: Keeping,
        *,
        serve: Serve,
        served: Callable[[], Iterable[ModelKey]],
        may_stop: bool = False,
        may_release: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`may_stop`: it is left when its batch is to end; `may_release`: when the worker is. A chunk is finished."""
        self.held = held
        self._steps = steps
        self._keeping = keeping
        self._serve = serve
        self._served = served
        self._may_stop = may_stop
        self._may_release = may_release
        self._clock = clock
        self._thread = threading.get_ident()
        self._last = clock()
        self._answer: Callable[[], Meanwhile] | None = None
        # Why the step is to be left: libraries that read through us may wrap what we raise.
        self.ended: StepEndedError | None = None

    def is_due(self) -> bool:
        """Say whether a slice's time has passed since the last pause."""
        return self._clock() - self._last >= SLICE_S and threading.get_ident() == self._thread

    def pause_if_due(self) -> None:
        """As `pause`, for a step that says nothing of where it stands."""
        if self.is_due():
            self.pause(Place(0, 0))

    def pause(self, place: Place) -> None:
        """Serve who waits, for so long that the step still gets its share; from here on the step is at `place`.

        Raises:
            StepEndedError: leave the step.
        """
        ran_s = max(SLICE_S, self._clock() - self._last)
        until = self._clock() + ran_s * (1 / CLASS_SHARE - 1)
        waiting = self.hear()
        # Who is served may kill the worker too, which is no fault of this step: nothing of it runs meanwhile.
        aside = Place(skipped=place.skipped)
        while waiting and self._clock() < until:
            self.stand_at(aside)
            for model in waiting:
                self._serve(model, until)
            waiting = self._look(lambda: self._steps.between(self.held, aside, self._served()))
        self._last = self._clock()
        self._ask(place)

    def hear(self) -> tuple[ModelKey, ...]:
        """Return the models for which jobs waited when the step last said where it stands.

        Raises:
            StepEndedError: leave the step.
        """
        answer, self._answer = self._answer, None
        return self._look(answer) if answer else ()

    def stand_at(self, place: Place) -> None:
        """Say where the step stands from now on, and wait until that is known.

        Raises:
            StepEndedError: leave the step.
        """
        self._look(lambda: self._steps.between(self.held, place, ()))

    def _ask(self, place: Place) -> None:
        """Say where the step stands; what happens meanwhile is heard at the next pause."""
        try:
            self._answer = self._steps.ask(self.held, place, self._served())
        except QueueUnavailableError as error:
            logger.warning("a bulk step goes on alone: %s", error)

    def _look(self, answer: Callable[[], Meanwhile]) -> tuple[ModelKey, ...]:
        self._keeping.touch(self.held.token)
        try:
            meanwhile = answer()
        except QueueUnavailableError as error:
            # What is done meanwhile is recorded when Redis is back, if the claim has not lapsed by then.
            logger.warning("a bulk step goes on alone: %s", error)
            return ()
        if not meanwhile.is_held:
            self._end(StepLostError(f"{self.held.id} is held by another"))
        if self._may_stop and meanwhile.is_ending:
            self._end(StepStoppedError(f"{self.held.id} is not needed any more"))
        if self._may_release and self._keeping.is_leaving:
            self._end(StepReleasedError(f"{self.held.id} is left to another worker"))
        return meanwhile.waiting

    def _end(self, reason: StepEndedError) -> None:
        self.ended = reason
        raise reason
