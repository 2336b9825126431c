"""A check in production: does a row's answer depend on the rows beside it? Knows models and arrays, no queue.

Now and then a finished batch is run again while the worker is idle. First as it was: where that differs, the model
draws random numbers or the device adds in any order, and nothing is concluded. Then with one row in its place and
copies of it everywhere else: where that row's answer moves, its neighbours had influence. Then with every row one
place further: where that row's answer moves by more than rounding, its place had. Nothing of it is kept.
"""

import logging
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np

from ferry.tensors import Array
from worker.equality import ROUNDING, TOLERANCE, largest_move, move_between

logger = logging.getLogger(__name__)

# Checks take this part of the time that models run, if no setting says otherwise.
CHECK_SHARE = 0.01
# A check runs the batch so often.
RUNS_PER_CHECK = 3

ModelKey = tuple[str, str]


class Rerunnable(Protocol):
    """What a check needs of a model."""

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run rows; shapes as in `worker.models.Model.run`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A finished batch. Shape: each array (rows, *inner); `counts`: rows of each of `job_ids`."""

    key: ModelKey
    model: Rerunnable
    job_ids: Sequence[str]
    counts: Sequence[int]
    arrays: list[Array]
    results: list[Array]
    run_s: float


@dataclass(frozen=True, slots=True)
class Influence:
    """What a check found: the job whose answer moved, how far (a part of its largest value), and what was changed."""

    key: ModelKey
    job_id: str
    move: float
    change: str


class NeighbourCheck:
    """Checks some of a worker's batches, for at most a share of the time that its models run."""

    def __init__(
        self,
        on_influence: Callable[[Influence], None],
        *,
        share: float = CHECK_SHARE,
        on_checked: Callable[[ModelKey, str, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.perf_counter,
        choose: Callable[[int], int] = random.randrange,
    ) -> None:
        """`on_checked` gets each check's result (same, influence, unsteady or failed) and how many seconds it took."""
        self._on_influence = on_influence
        self._on_checked = on_checked
        self._share = share
        self._clock = clock
        self._choose = choose
        self._credit_s = 0.0
        # What the last check cost, in runs of its batch: copying and comparing count too.
        self._runs_per_check = float(RUNS_PER_CHECK)
        self._kept: Batch | None = None

    def batch_ran(self, batch: Batch) -> None:
        """Take note of a batch; it is kept for a check where there is time for one and rows of several jobs met."""
        if self._share <= 0:
            return
        self._credit_s += self._share * batch.run_s
        if self._kept is None and len(batch.job_ids) > 1 and self._credit_s >= self._runs_per_check * batch.run_s:
            self._kept = batch

    def check(self) -> None:
        """Check the batch that is kept, if there is one; called when no job of its model waits."""
        batch, self._kept = self._kept, None
        if batch is None:
            return
        started = self._clock()
        try:
            found, result = self._checked(batch)
        except Exception:  # noqa: BLE001  the jobs have their answers; what a model raises on copies says nothing
            found, result = None, "failed"
        # A check that took longer than it was thought to is paid for before the next one.
        spent_s = self._clock() - started
        self._credit_s -= spent_s
        self._runs_per_check = max(RUNS_PER_CHECK, spent_s / batch.run_s) if batch.run_s else RUNS_PER_CHECK
        self._on_checked(batch.key, result, spent_s)
        if found:
            self._on_influence(found)

    def _checked(self, batch: Batch) -> tuple[Influence | None, str]:
        n_rows = len(batch.arrays[0])
        if largest_move(batch.results, batch.model.run(batch.arrays)) > 0:
            return None, "unsteady"
        row = self._choose(n_rows)
        copies = [np.repeat(array[row : row + 1], n_rows, axis=0) for array in batch.arrays]
        together = [result[row : row + 1] for result in batch.results]
        beside_copies = [result[row : row + 1] for result in batch.model.run(copies)]
        move, change = largest_move(together, beside_copies), f"the {n_rows - 1} rows beside it were replaced"
        if move <= TOLERANCE:
            moved_on = batch.model.run([np.roll(array, 1, axis=0) for array in batch.arrays])
            place = (row + 1) % n_rows
            pairs = zip(together, (result[place : place + 1] for result in moved_on), strict=True)
            change = f"it changed its place in a run of {n_rows} rows"
            move = max((each for one, other in pairs if (each := _beyond_rounding(one, other))), default=0.0)
        if move <= TOLERANCE:
            return None, "same"
        job_id = batch.job_ids[bisect_right(list(accumulate(batch.counts)), row)]
        return Influence(batch.key, job_id, move, change), "influence"


def _beyond_rounding(one: Array, other: Array) -> float:
    """Return how far a row's answer moved with its place; 0 where that may be rounding."""
    move = move_between(one, other)
    return move if move > ROUNDING.get(one.dtype.name, 0.0) else 0.0
