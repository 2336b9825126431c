"""Runs the rows of a chunk in slices: between them others are served, and a row that raises or kills fails alone.

Rows are counted over all groups of the chunk, each being one entry of the model's batch axis.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from ferry.bulk.batch_records import Place
from ferry.bulk.formats.base import ChunkRows, PartResult, RowFault
from ferry.jobs import WORKER_LOST, Claim, Outcome
from ferry.profile import Profile
from worker.batches import BatchRunner
from worker.bulk.group_runs import GroupRun, Part, WholeGroupRun
from worker.bulk.interludes import SLICE_S, Interlude, StepEndedError
from worker.execution import Executable

logger = logging.getLogger(__name__)


class RowRunner:
    """Runs one chunk."""

    def __init__(
        self,
        model: Executable,
        interlude: Interlude,
        place: Place,
        *,
        may_skip: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`place`: where the last holder stood when it died; nothing where this is the first.

        `may_skip`: where that is one row it is left out, for it has killed before; else it gets another chance.
        """
        self._model = model
        self._interlude = interlude
        self._clock = clock
        self._suspects = range(place.start or 0, place.end or 0)
        self._skipped = set(place.skipped)
        if len(self._suspects) == 1 and may_skip:
            self._skipped.add(self._suspects.start)
            self._suspects = range(0)
        self._slice_rows = self._max_rows
        self._is_first_try = place == Place()
        self._current: GroupRun | None = None
        self.runs = 0
        self.run_us = 0

    @property
    def _max_rows(self) -> int:
        """Rows of one run; they change when the model is tuned, or switched to whole jobs."""
        return self._model.limits.max_rows

    @property
    def skipped(self) -> tuple[int, ...]:
        """Rows that killed a worker."""
        return tuple(sorted(self._skipped))

    def run(self, rows: ChunkRows) -> PartResult:
        """Run all groups.

        Raises:
            StepLostError: the chunk is another's by now.
        """
        first, parts, row_faults = 0, list[Part](), list[RowFault]()
        for group in rows.groups:
            run = (GroupRun if self._model.manifest.is_batched else WholeGroupRun)(self._model, group, first)
            self._run_group(run)
            parts += run.parts()
            row_faults += run.faults()
            first += run.n_rows
        ran = replace(rows, groups=tuple(group for group, _ in parts))
        row_faults.sort(key=lambda fault: fault.position)
        return PartResult(ran, [outputs for _, outputs in parts], tuple(row_faults))

    def company(self, n_jobs_rows: int, profile: Profile | None) -> tuple[GroupRun, int] | None:
        """Return the group that is under way and how many of its rows may share a batch with so many others.

        As many as are run in the time that those take by themselves: who waits never waits twice as long for it.
        """
        run = self._current
        if run is None or not self._is_first_try:
            return None
        room = min(self._max_rows - n_jobs_rows, run.n_rows - run.at)
        if profile is not None and profile.b_us > 0:
            room = min(room, int((profile.a_us + profile.b_us * n_jobs_rows) / profile.b_us))
        return (run, room) if room > 0 else None

    def stand_at(self, run: GroupRun, n_rows: int) -> None:
        """Say that the next rows of a group run now."""
        start = run.first + run.at
        self._interlude.stand_at(Place(start, start + n_rows, self.skipped))

    def _run_group(self, run: GroupRun) -> None:
        self._current = run
        try:
            while run.at < run.n_rows:
                n_rows = self._next_rows(run)
                if n_rows == 0:
                    run.fail(run.at, WORKER_LOST, "the worker died each time it ran this row")
                    run.at += 1
                    continue
                start = run.first + run.at
                self._interlude.pause(Place(start, start + n_rows, self.skipped))
                n_rows = start + n_rows - (run.first + run.at)  # some were run in company meanwhile
                started = self._clock()
                for size in _sizes(n_rows, self._max_rows):
                    run.run(size)
                    self.runs += 1
                self._adapt(n_rows, self._clock() - started)
        finally:
            self._current = None

    def _next_rows(self, run: GroupRun) -> int:
        """Return how many rows make the next slice: one at a time among suspects, none where one is to be left out."""
        at = run.first + run.at
        if at in self._skipped:
            return 0
        if at in self._suspects:
            return 1
        bounds = [row for row in (*self._skipped, *self._suspects[:1]) if row > at]
        return min(self._slice_rows, min(bounds, default=run.first + run.n_rows) - at, run.n_rows - run.at)

    def _adapt(self, n_rows: int, seconds: float) -> None:
        self.run_us += int(seconds * 1e6)
        if n_rows < self._max_rows:
            return
        fitting = n_rows * SLICE_S / max(seconds, 1e-6)
        self._slice_rows = max(1, int(min(fitting, 2 * self._slice_rows) / self._max_rows)) * self._max_rows


def _sizes(n_rows: int, max_rows: int) -> Iterator[int]:
    for start in range(0, n_rows, max_rows):
        yield min(max_rows, n_rows - start)


def run_with_company(
    batches: BatchRunner, claim: Claim, runner: RowRunner, profile: Profile | None
) -> list[Outcome] | None:
    """Run jobs in one batch with the next rows of a chunk; None where they do not fit together, and nothing has run."""
    company = runner.company(claim.rows, profile)
    if company is None:
        return None
    run, n_rows = company
    try:
        runner.stand_at(run, n_rows)
    except StepEndedError:  # the chunk hears of it at its next pause; who waits does not wait for that
        return None
    shared = batches.run_with(claim.jobs, run.rows(n_rows))
    if shared is None:
        return None
    outcomes, results = shared
    with suppress(ValueError):  # they do not fit the chunk's other outputs; it will run those rows itself, and say so
        run.take(results)
    return outcomes
