"""What a worker does with a step of a bulk batch: which it is, its pauses, and what comes of it where it fails."""

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ferry.bulk.batch_records import ASSEMBLE, INDEX, INVALID_FILE, BatchRecord, BatchStatus, Place, folder_of
from ferry.bulk.formats.base import ChunkRows, PartResult, Rules
from ferry.bulk.steps import RELEASED, STOPPED, Held, StepOutcome, Steps, broken, worked
from ferry.errors import FerryError, InvalidInputError, NotFoundError, QueueUnavailableError
from ferry.jobs import Claim, Outcome
from ferry.profile import Profile
from worker.batches import BatchRunner
from worker.bulk.assembly import Assembly
from worker.bulk.batch_files import BatchFiles, WorkedBatch, rules_of
from worker.bulk.chunks import RunChunk, run_chunk, store_chunk
from worker.bulk.indexing import index_file
from worker.bulk.interludes import (
    SLICE_S,
    Interlude,
    Keeping,
    ModelKey,
    StepEndedError,
    StepLostError,
    StepStoppedError,
)
from worker.bulk.quiet_thread import QuietThread
from worker.bulk.row_runner import RowRunner, run_with_company
from worker.execution import Executable, JobRunner
from worker.outcomes import MAX_ERROR_CHARS

SETTLE_RETRY_S = 0.2
# A row is left out when it was under way at two deaths of a worker: within a slice, and by itself.
TWO_DEATHS = 2
# Jobs of one model are served for this long before it is looked who else waits.
SERVE_S = 0.02

logger = logging.getLogger(__name__)


class BulkModel(Executable, Protocol):
    """What a step needs of a model."""

    profile: Profile | None
    digest: str


class Leases(Keeping, Protocol):
    """Who keeps a step's lease alive (worker.pulse.Pulse)."""

    def holding(self, token: str) -> AbstractContextManager[None]:
        """Renew the lease of `token` until the context ends."""


# Serves the waiting jobs of a model until a time of the clock; `alongside` runs a claim together with a chunk's rows,
# or says None.
Alongside = Callable[[JobRunner, Claim], list[Outcome] | None]
ServeWaiting = Callable[[ModelKey, float, Alongside | None], None]


@dataclass(frozen=True, slots=True)
class BulkLimits:
    """file_ttl_s: how long output is kept. chunk_bytes: input of a chunk. give_up_s: how long Redis may be away."""

    file_ttl_s: float
    chunk_bytes: int
    give_up_s: float


@dataclass(slots=True)
class StepSummary:
    """What Flower shows of a step."""

    batch: str
    step: str
    outcome: str
    rows: int = 0
    runs: int = 0
    run_us: int = 0


class BulkRunner:
    """Works at steps, one at a time."""

    def __init__(
        self,
        steps: Steps,
        files: BatchFiles,
        leases: Leases,
        *,
        served: Callable[[], Iterable[ModelKey]],
        limits: BulkLimits,
        told: Callable[[StepSummary], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told` hears of each step once what became of it is known, on the thread of `work` and `finish`."""
        self._steps = steps
        self._files = files
        self._leases = leases
        self._served = served
        self._limits = limits
        self._told = told
        self._quiet = QuietThread()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ferry-storing")
        self._storing: tuple[Future[None], StepSummary] | None = None
        self._sleep = sleep
        self._clock = clock

    def work(self, claim: Claim, key: ModelKey, model: BulkModel, serve: ServeWaiting) -> StepSummary:
        """Work at the step that a claim holds, and record what became of it.

        `serve` is called in between, for models for which jobs of a higher class wait. A chunk is stored and recorded
        on a thread while the next one runs, so its summary says "lost" until `finish` returned.
        """
        job = claim.jobs[0]
        held = Held(claim.token, job.id, *key, job.attempt)
        summary = StepSummary(held.batch_id, held.step, "lost")
        task = _Task(self, held, model, serve, summary)
        with ExitStack() as holding:
            holding.enter_context(self._leases.holding(held.token))
            outcome = self._quiet.run(
                lambda: self._attempt(task, task.do), meanwhile=task.serve_meanwhile, every_s=SLICE_S
            )
            task.hang_up()
            if isinstance(outcome, RunChunk):
                self.finish()
                self._storing = self._thread.submit(self._store, task, outcome, holding.pop_all()), summary
                return summary
            if outcome is not None:
                self._record(task, outcome)
        self._told(summary)
        return summary

    def finish(self) -> None:
        """Return when every chunk that was run is recorded, or cannot be and will be run again."""
        if self._storing is None:
            return
        (storing, summary), self._storing = self._storing, None
        try:
            storing.result()
        except Exception:
            logger.exception("a chunk could not be recorded; its lease lapses and it is run again")
        self._told(summary)

    def _store(self, task: "_Task", chunk: RunChunk, holding: ExitStack) -> None:
        with holding:
            outcome = self._attempt(task, lambda: task.store(chunk))
            if isinstance(outcome, StepOutcome):
                self._record(task, outcome)

    def _record(self, task: "_Task", outcome: StepOutcome) -> None:
        held = task.held
        if not self._settle(held, outcome):
            return
        task.summary.outcome = outcome.name
        if held.step == ASSEMBLE and outcome is not RELEASED:
            self._clean_up(held.batch_id)

    def _attempt(self, task: "_Task", action: Callable[[], StepOutcome | RunChunk]) -> StepOutcome | RunChunk | None:
        """Do a part of a step; every failure becomes an outcome that says why. None: it is another's by now."""
        try:
            return action()
        except Exception as error:
            ended = error if isinstance(error, StepEndedError) else task.ended
            if ended is not None:  # what a library made of it says no more
                return _left(ended)
            if isinstance(error, FerryError):
                return _failed(error, task.missing)
            logger.exception("a bulk step failed: %s", task.held.id)
            return broken("internal", f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])

    def _settle(self, held: Held, outcome: StepOutcome) -> bool:
        """Record an outcome, however long Redis is away."""
        started = self._clock()
        while True:
            try:
                return self._steps.settle(held, outcome)
            except QueueUnavailableError as error:
                if self._clock() - started > self._limits.give_up_s:
                    raise
                logger.warning("cannot record %s yet: %s", held.id, error)
                self._sleep(SETTLE_RETRY_S)

    def _clean_up(self, batch_id: str) -> None:
        """Delete what the batch needed on its way; a sweep of the API does it once more, later."""
        self._files.forget(batch_id)
        with suppress(FerryError):
            self._files.storage.delete_folder(folder_of(batch_id))


def _left(ended: StepEndedError) -> StepOutcome | None:
    """Return what comes of a step that is left where it stands."""
    if isinstance(ended, StepLostError):
        logger.warning("%s", str(ended))
        return None
    return STOPPED if isinstance(ended, StepStoppedError) else RELEASED


def _failed(error: FerryError, missing: str) -> StepOutcome:
    """Return what comes of a step that cannot be done; `missing` says what is not there if something is not."""
    if isinstance(error, QueueUnavailableError):
        logger.warning("a bulk step comes to nothing, it will be done again: %s", error)
        return RELEASED
    if isinstance(error, NotFoundError):
        return broken("file_not_found", missing)
    code = INVALID_FILE if isinstance(error, InvalidInputError) else error.code
    return broken(code, error.detail)


def _is_flat(model: BulkModel) -> bool:
    """Say whether a full batch takes less than twice as long as one of a row; where nothing is known it may."""
    profile = model.profile
    return profile is None or profile.a_us >= profile.b_us * model.limits.max_rows


class _Task:
    """One step on its way."""

    def __init__(
        self, runner: BulkRunner, held: Held, model: BulkModel, serve: ServeWaiting, summary: StepSummary
    ) -> None:
        self.held = held
        self._runner = runner
        self._model = model
        self._key = (held.model, held.version)
        self._serve = serve
        self.summary = summary
        self._rows: RowRunner | None = None
        self._interlude: Interlude | None = None
        self._is_beside = False
        self.missing = "the input file was deleted, or expired, before the batch was done"

    @property
    def ended(self) -> StepEndedError | None:
        """Why the step is to be left, if it is."""
        return self._interlude.ended if self._interlude else None

    def do(self) -> StepOutcome | RunChunk:
        """Do the step."""
        runner, held = self._runner, self.held
        place = runner._steps.place(held) if held.attempt > 1 else Place()
        # Where a batch takes the same time whatever its rows, those who wait get theirs filled up with rows of the
        # chunk. Where something killed a worker, nothing else runs beside the rows that are looked at one by one.
        self._is_beside = place == Place() and not (self._model.is_batched and _is_flat(self._model))
        self._interlude = interlude = Interlude(
            held, runner._steps, runner._leases, serve=self._serve_waiting,
            served=(lambda: ()) if self._is_beside else runner._served,
            may_stop=held.step == INDEX, may_release=held.step in (INDEX, ASSEMBLE), clock=runner._clock,
        )  # fmt: skip
        interlude.pause(Place(0, 0, place.skipped))
        if held.step == INDEX:
            return index_file(self._record(), self._rules, runner._files, interlude)
        batch = runner._files.worked(self._record, self._rules, held.batch_id)
        if held.step == ASSEMBLE:
            self.missing = "a part of the output is not in the storage any more"
            ending = self._record().ending or BatchStatus.COMPLETED
            ttl_s = batch.record.output_ttl_s or runner._limits.file_ttl_s
            rerun = partial(self._chunk, batch, Place(), interlude)
            return Assembly(held, batch, ending, runner._files, runner._steps, interlude, ttl_s, rerun).run()
        return self._chunk(batch, place, interlude, int(held.step))

    def _chunk(self, batch: WorkedBatch, place: Place, interlude: Interlude, number: int) -> RunChunk:
        self._rows = rows = RowRunner(self._model, interlude, place, may_skip=self.held.attempt > TWO_DEATHS)

        def run(source: ChunkRows) -> PartResult:
            self.summary.rows = len(source.ids)
            return rows.run(source)

        chunk = run_chunk(number, batch, run, self._runner._files, interlude)
        self.summary.runs, self.summary.run_us = rows.runs, rows.run_us
        return chunk

    def hang_up(self) -> None:
        """Hear the answer that is still on its way; it changes nothing any more."""
        if self._interlude:
            with suppress(StepEndedError):
                self._interlude.hear()

    def store(self, chunk: RunChunk) -> StepOutcome:
        """Store a chunk that was run."""
        if self._interlude is None:
            raise TypeError("a chunk is stored after it was run")
        part = store_chunk(chunk, self.held.batch_id, self.held.token, self._runner._files, self._interlude)
        return worked(chunk.number, part)

    def serve_meanwhile(self) -> None:
        """Serve who waits while the step runs on the quiet thread."""
        if not self._is_beside:
            return
        try:
            waiting = self._runner._steps.look(self.held, self._runner._served()).waiting
            for key in waiting:
                self._serve(key, self._runner._clock() + SERVE_S, None)
        except QueueUnavailableError as error:
            logger.warning("who waits amid %s waits on: %s", self.held.id, error)
        except Exception:  # whatever it is, it is no fault of the step; the jobs' lease lapses
            logger.exception("jobs could not be served amid %s", self.held.id)

    def _serve_waiting(self, key: ModelKey, until: float) -> None:
        rows = self._rows
        alongside: Alongside | None = None
        if key == self._key and rows is not None:
            alongside = partial(self._run_alongside, rows)
        try:
            self._runner._quiet.hand_back(lambda: self._serve(key, until, alongside))
        except Exception:  # whatever it is, it is no fault of the step; the jobs' lease lapses
            logger.exception("jobs of %s:%s could not be served amid %s", *key, self.held.id)

    def _run_alongside(self, rows: RowRunner, batches: JobRunner, claim: Claim) -> list[Outcome] | None:
        if not isinstance(batches, BatchRunner):
            return None
        return run_with_company(batches, claim, rows, self._model.profile)

    def _record(self) -> BatchRecord:
        record = self._runner._steps.batch(self.held.batch_id)
        if record is None:
            raise StepLostError(f"{self.held.batch_id} is not known any more")
        return record

    def _rules(self, record: BatchRecord) -> Rules:
        return rules_of(
            record, self._model.manifest, limits=self._model.limits, profile=self._model.profile,
            chunk_bytes=self._runner._limits.chunk_bytes,
        )  # fmt: skip
