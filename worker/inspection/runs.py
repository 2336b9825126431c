"""One run of the model under inspection: fixed inputs are added, maps become arrays, and time is kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from ferry.manifest import FixedInput
from ferry.tensors import Array
from worker.map_outputs import Maps, arrays_from_maps, keys_of

# Arrays by input name, in the model's own layout.
Feed = Mapping[str, Array]


class Session(Protocol):
    """What a run needs of onnxruntime's session."""

    def run(self, output_names: Sequence[str] | None, feed: dict[str, Any]) -> Sequence[Any]:
        """Run the model once."""


class OutOfTimeError(Exception):
    """The inspection has used up the time it may take for runs."""


class Runner:
    """Runs a session until its time is up. `map_keys`: the keys of each output that is a list of maps, else empty."""

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
        self.map_keys: dict[int, tuple[int | str, ...]] = {}

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
        return [self._array(index, result) for index, result in enumerate(results)]

    def _array(self, index: int, result: Any) -> Array:
        if not isinstance(result, list):
            return np.asarray(result)
        maps = cast("Maps", result)
        return arrays_from_maps(maps, self.map_keys.setdefault(index, keys_of(maps)))
