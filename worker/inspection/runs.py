"""One run of the model under inspection: fixed inputs are added, and time is kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from ferry.manifest import FixedInput
from ferry.tensors import Array

# Arrays by input name, in the model's own layout.
Feed = Mapping[str, Array]


class Session(Protocol):
    """What a run needs of a session."""

    def run(self, names: list[str] | None, feed: Feed) -> list[Array]:
        """Run the model once; return all outputs."""


class OutOfTimeError(Exception):
    """The inspection has used up the time it may take for runs."""


class Runner:
    """Runs a session until its time is up."""

    def __init__(
        self,
        session: Session,
        fixed: Sequence[FixedInput] = (),
        *,
        budget_s: float = float("inf"),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._session = session
        self._fixed = {each.name: each.to_array() for each in fixed}
        self._clock = clock
        self.budget_s = budget_s
        self._started = clock()
        self.last_run_s = 0.0

    @property
    def spent_s(self) -> float:
        """Seconds since the inspection's first run could begin."""
        return self._clock() - self._started

    def run(self, feed: Feed) -> list[Array]:
        """Return the outputs as arrays, in the model's own layout.

        Raises:
            OutOfTimeError: the time is up; nothing was run.
            Exception: one of `ORT_ERRORS`, where the model cannot run these values or these sizes.
        """
        if self.spent_s >= self.budget_s:
            raise OutOfTimeError(f"its runs take longer than {self.budget_s:g} s")
        before = self._clock()
        results = self._session.run(None, {**feed, **self._fixed})
        self.last_run_s = self._clock() - before
        return [np.asarray(result) for result in results]
