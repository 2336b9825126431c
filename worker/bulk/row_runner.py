"""Runs the rows of a chunk in slices: between them others are served, and a row that raises or kills fails alone.

Rows are counted over all groups of the chunk, each being one entry of the model's batch axis.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from ferry.bulk.batch_records import Place
from ferry.bulk.formats.base import ChunkRows, Group, PartResult, RowFault
from ferry.errors import ModelError
from ferry.jobs import WORKER_LOST, Claim, Outcome
from ferry.manifest import NonFinite, TensorSpec
from ferry.profile import Profile
from ferry.tensors import Array
from worker.batches import MAX_ERROR_CHARS, BatchRunner, Runnable
from worker.bulk.interludes import SLICE_S, Interlude, StepEndedError
from worker.non_finite import blanked, faults

SERVER_ERROR = 500

logger = logging.getLogger(__name__)


class RowRunner:
    """Runs one chunk."""

    def __init__(
        self,
        model: Runnable,
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
        self._max_rows = model.limits.max_rows
        self._slice_rows = self._max_rows
        self._is_first_try = place == Place()
        self._current: _GroupRun | None = None
        self.runs = 0
        self.run_us = 0

    @property
    def skipped(self) -> tuple[int, ...]:
        """Rows that killed a worker."""
        return tuple(sorted(self._skipped))

    def run(self, rows: ChunkRows) -> PartResult:
        """Run all groups.

        Raises:
            StepLostError: the chunk is another's by now.
        """
        first, outputs, row_faults = 0, [], []
        for group in rows.groups:
            run = _GroupRun(self._model, group, first)
            self._run_group(run)
            outputs.append(run.outputs())
            row_faults += run.faults()
            first += run.n_rows
        return PartResult(rows, outputs, tuple(sorted(row_faults, key=lambda fault: fault.position)))

    def company(self, n_jobs_rows: int, profile: Profile | None) -> "tuple[_GroupRun, int] | None":
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

    def stand_at(self, run: "_GroupRun", n_rows: int) -> None:
        """Say that the next rows of a group run now."""
        start = run.first + run.at
        self._interlude.stand_at(Place(start, start + n_rows, self.skipped))

    def _run_group(self, run: "_GroupRun") -> None:
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

    def _next_rows(self, run: "_GroupRun") -> int:
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


class _GroupRun:
    """One group on its way through the model."""

    def __init__(self, model: Runnable, group: Group, first: int) -> None:
        self._model = model
        self._group = group
        self.first = first
        self.n_rows = len(group.arrays[0]) if group.arrays else 0
        self.at = 0
        self._outputs: list[Array] | None = None
        self._bad: dict[int, tuple[str, str]] = {}

    def run(self, n_rows: int) -> None:
        """Run the next rows in one batch; where it raises, in halves, until those at fault stand alone."""
        self._run(self.at, self.at + n_rows)
        self.at += n_rows

    def rows(self, n_rows: int) -> list[Array]:
        """Return the next rows, without running them."""
        return [array[self.at : self.at + n_rows] for array in self._group.arrays]

    def take(self, results: Sequence[Array]) -> None:
        """Take the results of the next rows, which ran in another batch."""
        self._keep(self.at, results)
        self.at += len(results[0])

    def fail(self, row: int, code: str, message: str) -> None:
        """Say that a row has no result."""
        self._bad.setdefault(row, (code, message))

    def outputs(self) -> list[Array]:
        """Return all results; rows at fault mean nothing. Shape: (rows, *inner) each."""
        if self._outputs is None:
            return [_nothing(spec, self.n_rows) for spec in self._model.outputs.specs]
        return self._outputs

    def faults(self) -> list[RowFault]:
        """Return a fault for each position with a row at fault."""
        if not self._bad:
            return []
        ends = np.cumsum(np.asarray(self._group.counts, dtype=np.int64))
        found: dict[int, RowFault] = {}
        for row in sorted(self._bad):
            position = self._group.positions[int(np.searchsorted(ends, row, side="right"))]
            code, message = self._bad[row]
            found.setdefault(position, RowFault(position, code, message, status=SERVER_ERROR))
        return list(found.values())

    def _run(self, start: int, end: int) -> None:
        try:
            results = self._model.run([array[start:end] for array in self._group.arrays])
            self._keep(start, results)
        except Exception as error:  # noqa: BLE001  whatever the model does is the affair of these rows
            if end - start == 1:
                self.fail(start, ModelError.code, f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])
                return
        else:
            return
        middle = (start + end) // 2
        self._run(start, middle)
        self._run(middle, end)

    def _keep(self, start: int, results: Sequence[Array]) -> None:
        specs, n_rows = self._model.outputs.specs, len(results[0])
        if self._model.non_finite is NonFinite.NULL:
            results = blanked(results)
        elif self._model.non_finite is NonFinite.FAIL:
            for index, fault in faults(specs, results, [1] * n_rows).items():
                self.fail(start + index, ModelError.code, fault)
        if self._outputs is None:
            self._outputs = [_room(spec, self.n_rows, result) for spec, result in zip(specs, results, strict=True)]
        for whole, result, spec in zip(self._outputs, results, specs, strict=True):
            if result.shape[1:] != whole.shape[1:]:
                detail = f"output {spec.name!r} has rows of shape {result.shape[1:]}, before them {whole.shape[1:]}"
                raise ValueError(detail)
        for whole, result in zip(self._outputs, results, strict=True):
            whole[start : start + n_rows] = result


def _room(spec: TensorSpec, n_rows: int, like: Array) -> Array:
    return np.zeros((n_rows, *like.shape[1:]), object if spec.is_string else like.dtype)


def _nothing(spec: TensorSpec, n_rows: int) -> Array:
    shape = (n_rows, *(size or 0 for size in spec.inner_shape))
    return np.full(shape, "", object) if spec.is_string else np.zeros(shape, spec.numpy_dtype)


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
