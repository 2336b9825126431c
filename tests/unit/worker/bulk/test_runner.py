"""What becomes of a step that fails, who is served amid it, and a chunk that is stored while the next one runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ferry.bulk.batch_records import BatchStatus, Place, folder_of
from ferry.bulk.files import key_of
from ferry.bulk.steps import Held, StepOutcome
from ferry.errors import InvalidInputError, ModelError, NotFoundError, QueueUnavailableError, StorageError
from ferry.jobs import Claim, ClaimedJob
from tests.processes import GIVE_UP_S
from tests.unit.worker.bulk.test_steps_of_a_batch import BATCH, TOY, Works, npy, rows
from worker.bulk.interludes import StepLostError, StepReleasedError, StepStoppedError
from worker.bulk.runner import SETTLE_RETRY_S, StepSummary
from worker.outcomes import MAX_ERROR_CHARS

OTHER = ("other", "2")


def claim_of(step: str | int, attempt: int = 1, token: str = "t") -> Claim:
    return Claim(token, (ClaimedJob(f"{BATCH}/{step}", 1, b"", attempt, 1),))


def nobody(*_: object) -> None:
    """Serve nobody."""


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Works:
    made = Works(tmp_path)

    @contextmanager
    def holding(token: str) -> Iterator[None]:
        """As the pulse: over however the context ends."""
        made.leases.held.add(token)
        try:
            yield
        finally:
            made.leases.held.remove(token)

    monkeypatch.setattr(made.leases, "holding", holding)
    made.store(npy(rows()), "rows.npy")
    made.index()
    return made


def work(works: Works, step: str | int, serve: Callable[..., None] = nobody, attempt: int = 1) -> StepSummary:
    """Work at a step until it is recorded; no lease is left."""
    summary = works.runner.work(claim_of(step, attempt), TOY, works.model, serve)
    works.runner.finish()
    assert works.leases.held == set()
    return summary


def raising(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


# --- each failure becomes an outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidInputError("not what was indexed"), ("broken", "invalid_file", "not what was indexed")),
        (StorageError("full"), ("broken", "storage_unavailable", "full")),
        (ModelError("no such device"), ("broken", "model_error", "no such device")),
        (QueueUnavailableError("away"), ("released",)),
        (StepStoppedError("ends"), ("stopped",)),
        (StepReleasedError("leaves"), ("released",)),
        (KeyError("x"), ("broken", "internal", "KeyError: 'x'")),
        (MemoryError(), ("broken", "internal", "MemoryError: ")),
        (RuntimeError("y" * 10_000), ("broken", "internal", f"RuntimeError: {'y' * 10_000}"[:MAX_ERROR_CHARS])),
    ],
)
@pytest.mark.parametrize(
    ("step", "part"), [("index", "index_file"), (0, "run_chunk"), (0, "store_chunk"), ("assemble", "Assembly.run")]
)
def test_work_when_a_part_of_a_step_fails_then_the_outcome_says_why(
    works: Works,
    monkeypatch: pytest.MonkeyPatch,
    step: str | int,
    part: str,
    error: Exception,
    outcome: tuple[str, ...],
) -> None:
    monkeypatch.setattr(f"worker.bulk.runner.{part}", raising(error))
    n_settled = len(works.queue.settled)
    summary = work(works, step)
    assert works.queue.settled[n_settled:] == [(str(step), StepOutcome(outcome[0], outcome[1:]))]
    assert summary.outcome == outcome[0]


@pytest.mark.parametrize(
    ("step", "part", "what"),
    [
        ("index", "index_file", "the input file was deleted, or expired"),
        (0, "run_chunk", "the input file was deleted, or expired"),
        ("assemble", "Assembly.run", "a part of the output is not in the storage any more"),
    ],
)
def test_work_when_a_file_is_gone_then_it_is_said_which(
    works: Works, monkeypatch: pytest.MonkeyPatch, step: str | int, part: str, what: str
) -> None:
    monkeypatch.setattr(f"worker.bulk.runner.{part}", raising(NotFoundError("no such key")))
    work(works, step)
    name, args = works.queue.settled[-1][1].name, works.queue.settled[-1][1].args
    assert (name, args[0]) == ("broken", "file_not_found")
    assert what in str(args[1])


@pytest.mark.parametrize("step", ["index", 0, "assemble"])
def test_work_when_the_step_is_anothers_by_now_then_nothing_is_recorded_or_deleted(
    works: Works, monkeypatch: pytest.MonkeyPatch, step: str | int
) -> None:
    for part in ("index_file", "run_chunk", "Assembly.run"):
        monkeypatch.setattr(f"worker.bulk.runner.{part}", raising(StepLostError("another's")))
    n_settled = len(works.queue.settled)
    assert work(works, step).outcome == "lost"
    assert len(works.queue.settled) == n_settled
    assert works.storage.list_folder(folder_of(BATCH)) != {}


def test_work_when_a_library_wraps_why_the_step_is_to_be_left_then_it_is_left_for_that(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrap(_: object, __: object, ___: object, interlude: object) -> object:
        interlude.ended = StepReleasedError("leaves")  # type: ignore[attr-defined]
        raise OSError("a library could not read on")

    monkeypatch.setattr("worker.bulk.runner.index_file", wrap)
    assert work(works, "index").outcome == "released"


def test_work_when_the_batch_is_not_known_any_more_then_nothing_is_recorded(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works.queue, "batch", lambda _: None)
    n_settled = len(works.queue.settled)
    assert work(works, 0).outcome == "lost"
    assert len(works.queue.settled) == n_settled


def test_work_when_it_is_settled_elsewhere_then_it_counts_as_lost_and_nothing_is_deleted(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        works.do(number)
    monkeypatch.setattr(works.queue, "settle", lambda *_: False)
    assert work(works, "assemble").outcome == "lost"
    assert works.storage.list_folder(folder_of(BATCH)) != {}


@pytest.mark.parametrize(("attempt", "asked"), [(1, []), (2, ["0"]), (3, ["0"])])
def test_work_when_a_step_is_tried_again_then_the_last_holders_place_is_asked_for(
    works: Works, monkeypatch: pytest.MonkeyPatch, attempt: int, asked: list[str]
) -> None:
    heard: list[str] = []

    def place(held: Held) -> Place:
        heard.append(held.step)
        return Place(3, 4)

    monkeypatch.setattr(works.queue, "place", place)
    work(works, 0, attempt=attempt)
    assert heard == asked
    # A row that was under way at one death alone gets another chance.
    assert works.queue.parts_[0].failed == (1 if attempt == 3 else 0)


# --- recording


@pytest.mark.parametrize("step", [0, "assemble"])
def test_settle_when_redis_is_away_then_offered_again_until_it_is_back(works: Works, step: str | int) -> None:
    works.queue.away = 5
    started = works.now
    work(works, step)
    assert works.queue.settled[-1][0] == str(step)
    assert works.now - started == pytest.approx(5 * SETTLE_RETRY_S)


def test_settle_when_redis_stays_away_at_a_chunk_then_its_lease_lapses_and_the_worker_goes_on(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    works.queue.away = 10_000
    started = works.now
    assert work(works, 0).outcome == "lost"
    assert 10 < works.now - started < 11
    assert "it is run again" in caplog.text
    works.queue.away = 0
    assert works.do(0).name == "chunk"


def test_settle_when_redis_stays_away_at_another_step_then_that_is_raised_and_no_lease_is_left(works: Works) -> None:
    works.queue.away = 10_000
    with pytest.raises(QueueUnavailableError):
        work(works, "index")
    assert works.leases.held == set()


# --- what a batch needed on its way


def test_assemble_when_it_is_left_to_another_then_what_it_needs_stays(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.bulk.runner.Assembly.run", raising(StepReleasedError("leaves")))
    work(works, "assemble")
    assert works.storage.list_folder(folder_of(BATCH)) != {}


@pytest.mark.parametrize("error", [None, ValueError("damaged"), NotFoundError("gone")])
def test_assemble_when_it_is_over_then_the_folder_is_deleted_and_the_batch_forgotten(
    works: Works, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    for number in range(3):
        works.do(number)
    if error:
        monkeypatch.setattr("worker.bulk.runner.Assembly.run", raising(error))
    work(works, "assemble")
    assert works.storage.list_folder(folder_of(BATCH)) == {}
    assert BATCH not in works.files._known
    assert works.storage.size_bytes(key_of(works.queue.record.input_file_id)) > 0, "the input is the client's"


def test_assemble_when_the_folder_cannot_be_deleted_then_it_is_done_all_the_same(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        works.do(number)
    monkeypatch.setattr(works.storage, "delete_folder", raising(StorageError("away")))
    assert work(works, "assemble").outcome == "assembled"


# --- who waits


def waiting(works: Works, monkeypatch: pytest.MonkeyPatch, *models: tuple[str, str]) -> None:
    """Let a job wait for each of these at every look, until the first of them was served."""
    between = works.queue.between

    def with_waiting(held: Held, place: Place, served: object) -> object:
        heard = between(held, place, list(served))  # type: ignore[call-overload]
        return type(heard)(heard.is_held, heard.is_ending, () if works.served else models)

    monkeypatch.setattr(works.queue, "between", with_waiting)


def test_work_when_jobs_wait_then_they_are_served_on_the_workers_own_thread_and_the_chunk_is_right(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(works, monkeypatch, OTHER, TOY)
    threads: set[int] = set()

    def serve(key: tuple[str, str], until: float, alongside: object) -> None:
        threads.add(threading.get_ident())
        works.served.append((key, alongside is not None))
        assert until > works.now

    assert work(works, 0, serve).outcome == "chunk"
    assert works.served[:2] == [(OTHER, False), (TOY, True)], "rows share a batch with jobs of their own model alone"
    assert threads == {threading.get_ident()}
    for number in (1, 2):
        works.do(number)
    assert works.assemble()[:2] == (50, 0)


def test_work_when_serving_fails_then_the_chunk_is_done(
    works: Works, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waiting(works, monkeypatch, OTHER)

    def serve(*args: object) -> None:
        works.served.append(args)
        raise RuntimeError("a job's trouble")

    assert work(works, 0, serve).outcome == "chunk"
    assert works.queue.parts_[0].failed == 0
    assert "could not be served" in caplog.text


def test_index_when_jobs_wait_then_they_are_served_without_company(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(works, monkeypatch, TOY)
    clock = iter(range(10**6))
    monkeypatch.setattr(works.runner, "_clock", lambda: next(clock) / 100)  # each look at the clock finds a slice over
    assert work(works, "index", lambda *args: works.served.append(args[2])).outcome == "indexed"
    assert set(works.served) == {None}


# --- stored while the next one runs


def test_work_when_a_chunk_is_being_stored_then_the_next_one_runs_and_both_are_recorded_in_order(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, may_store, runs = works.storage.create, threading.Event(), len(works.model._session.feeds)
    writers: list[str] = []

    def create_late(key: str, **how: bool) -> object:
        writers.append(threading.current_thread().name)
        assert may_store.wait(GIVE_UP_S)
        return create(key, **how)

    monkeypatch.setattr(works.storage, "create", create_late)
    first = works.runner.work(claim_of(0, token="t0"), TOY, works.model, nobody)
    assert (first.outcome, works.leases.held) == ("lost", {"t0"}), "its lease is held until it is recorded"
    assert [step for step, *_ in works.told] == ["index"], "it is not told what nobody knows yet"

    session = works.model._session
    compute = session._compute

    def run_then_let_store(x: object) -> object:
        may_store.set()
        return compute(x)

    session._compute = run_then_let_store
    second = works.runner.work(claim_of(1, token="t1"), TOY, works.model, nobody)
    works.runner.finish()
    assert len(session.feeds) > runs
    assert (first.outcome, second.outcome, works.leases.held) == ("chunk", "chunk", set())
    assert [step for step, _ in works.queue.settled[-2:]] == ["0", "1"]
    assert works.told[1:] == [("0", "chunk", 20), ("1", "chunk", 20)]
    assert len(set(writers)) == 1
    assert writers[0] != threading.current_thread().name
    assert [works.queue.parts_[number].token for number in (0, 1)] == ["t0", "t1"]


def test_finish_when_nothing_was_run_then_nothing(works: Works) -> None:
    works.runner.finish()
    works.do(0)
    n_settled, n_told = len(works.queue.settled), len(works.told)
    works.runner.finish()
    works.runner.finish()
    assert (len(works.queue.settled), len(works.told)) == (n_settled, n_told)


def test_work_when_a_chunk_was_run_then_its_summary_says_how(works: Works) -> None:
    summary = work(works, 1)
    assert (summary.batch, summary.step, summary.outcome, summary.rows, summary.runs) == (BATCH, "1", "chunk", 20, 3)


@pytest.mark.parametrize("ending", [BatchStatus.CANCELLED, BatchStatus.EXPIRED])
def test_work_when_the_batch_is_ending_then_a_chunk_is_finished_and_an_index_is_not(
    works: Works, monkeypatch: pytest.MonkeyPatch, ending: BatchStatus
) -> None:
    works.queue.record = replace(works.queue.record, ending=ending)
    assert work(works, 0).outcome == "chunk"
    clock = iter(range(10**6))
    monkeypatch.setattr(works.runner, "_clock", lambda: next(clock) / 100)
    assert work(works, "index").outcome == "stopped"
