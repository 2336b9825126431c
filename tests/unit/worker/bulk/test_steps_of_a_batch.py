"""Index, chunks and assembly over a folder, with a queue that only remembers: each row stands exactly once."""

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferry.bulk.batch_records import BatchRecord, BatchStatus, Part, Place, folder_of, part_from_text, part_key
from ferry.bulk.files import key_of, new_file_id
from ferry.bulk.steps import Held, Meanwhile, StepOutcome
from ferry.bulk.storage import Storage
from ferry.errors import QueueUnavailableError, StorageError
from ferry.jobs import Claim, ClaimedJob
from ferry.profile import Profile
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, spec
from worker.bulk.batch_files import STORAGE_PATIENCE_S, BatchFiles
from worker.bulk.runner import BulkLimits, BulkRunner
from worker.models import Model

TOY = ("toy", "1")
BATCH = "batch_abc"
N_ROWS = 50


class Queue:
    """Remembers what steps came to; parts and record are what a test makes them."""

    def __init__(self, record: BatchRecord) -> None:
        self.record = record
        self.parts_: dict[int, Part] = {}
        self.settled: list[tuple[str, StepOutcome]] = []
        self.away = 0
        self.is_held = True
        self.waits = False

    def batch(self, batch_id: str) -> BatchRecord | None:
        return self.record

    def place(self, held: Held) -> Place:
        return Place()

    def between(self, held: Held, place: Place, served: Iterable[tuple[str, str]]) -> Meanwhile:
        return Meanwhile(self.is_held, self.record.ending is not None)

    def ask(self, held: Held, place: Place, served: Iterable[tuple[str, str]]) -> Callable[[], Meanwhile]:
        return lambda: self.between(held, place, served)

    def look(self, held: Held, served: Iterable[tuple[str, str]]) -> Meanwhile:
        return Meanwhile(self.is_held, False, tuple(served) if self.waits else ())

    def settle(self, held: Held, outcome: StepOutcome) -> bool:
        if self.away:
            self.away -= 1
            raise QueueUnavailableError("away")
        self.settled.append((held.step, outcome))
        if outcome.name == "chunk":
            number, part = outcome.args[:2]
            self.parts_[int(number)] = part_from_text(str(part))
        return True

    def parts(self, batch_id: str) -> dict[int, Part]:
        return dict(self.parts_)

    def reserve_file(self) -> str:
        return new_file_id()


class Leases:
    is_leaving = False

    def __init__(self) -> None:
        self.held: set[str] = set()

    @contextmanager
    def holding(self, token: str) -> Iterator[None]:
        self.held.add(token)
        yield
        self.held.discard(token)

    def touch(self, token: str) -> None:
        assert token in self.held


class Works:
    """A worker's bulk part on a folder of its own."""

    def __init__(self, folder: Path, compute: Callable[[np.ndarray], list[np.ndarray]] = doubled) -> None:
        signature = {"inputs": (spec("x", "float32", 3),), "outputs": (spec("y", "float32", 3),)}
        self.model = Model(manifest(max_rows=8, **signature), FakeSession(compute))
        self.storage = Storage(str(folder))
        self.now = 0.0
        record = BatchRecord(
            BATCH, BatchStatus.VALIDATING, *TOY, "/v2/models/toy/infer", new_file_id(), "rows.npy", 1, "1h", {}, 1, 2
        )
        self.queue, self.leases = Queue(record), Leases()
        # By step: what became of it and its rows, as they were told.
        self.told: list[tuple[str, str, int]] = []
        self.files = BatchFiles(self.storage, clock=lambda: self.now, sleep=self._sleep)
        self.runner = BulkRunner(
            self.queue, self.files, self.leases, served=lambda: [TOY], limits=BulkLimits(600, 20 * 12, 10),  # type: ignore[arg-type]
            told=lambda step: self.told.append((step.step, step.outcome, step.rows)),
            sleep=self._sleep, clock=lambda: self.now,
        )  # fmt: skip
        self.served: list[object] = []

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def store(self, data: bytes, filename: str, **changes: object) -> None:
        with self.storage.create(key_of(self.queue.record.input_file_id)) as upload:
            upload.write(data)
        self.queue.record = replace(self.queue.record, filename=filename, **changes)  # type: ignore[arg-type]

    def do(self, step: str | int, token: str = "t") -> StepOutcome:
        """Do a step; returns what was recorded of it."""
        claim = Claim(token, (ClaimedJob(f"{BATCH}/{step}", 1, b"", 1, 1),))
        self.runner.work(claim, TOY, self.model, lambda *args: self.served.append(args))
        self.runner.finish()
        assert self.leases.held == set()
        assert self.queue.settled[-1][0] == str(step)
        return self.queue.settled[-1][1]

    def index(self) -> int:
        """Do the first step; returns the number of chunks."""
        outcome = self.do("index")
        assert outcome.name == "indexed", outcome
        total, chunks, width, form, target, notes, is_prepared = outcome.args
        self.queue.record = replace(
            self.queue.record, status=BatchStatus.IN_PROGRESS, total=int(total), chunks=int(chunks), width=int(width),
            format=str(form), output_format=str(target), notes=tuple(json.loads(str(notes))),
            is_prepared=is_prepared == 1,
        )  # fmt: skip
        return int(chunks)

    def assemble(self, ending: BatchStatus = BatchStatus.COMPLETED) -> tuple[int, int, bytes, list[dict[str, object]]]:
        """Do the last step; returns rows completed and failed, the output, and the lines of the error file."""
        self.queue.record = replace(self.queue.record, ending=ending)
        outcome = self.do("assemble")
        assert outcome.name == "assembled", outcome
        completed, failed, output_id, *_ = outcome.args
        error_id = str(outcome.args[7])
        read = [self.storage.read_range(key_of(str(each)), 0, 10**6) if each else b"" for each in (output_id, error_id)]
        return int(completed), int(failed), read[0], [json.loads(line) for line in read[1].splitlines()]


@pytest.fixture
def works(tmp_path: Path) -> Works:
    return Works(tmp_path)


def rows(n: int = N_ROWS) -> np.ndarray:
    return np.arange(3 * n, dtype=np.float32).reshape(n, 3)


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def lines(array: np.ndarray) -> bytes:
    def line(number: int, row: list[float]) -> str:
        body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": row}]}
        return json.dumps({"custom_id": f"id-{number}", "method": "POST", "url": "/v2/models/toy/infer", "body": body})

    return "\n".join(line(number, row) for number, row in enumerate(array.tolist())).encode()


def test_batch_when_every_step_is_done_then_the_output_is_whole_and_what_it_needed_is_deleted(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    n_chunks = works.index()
    assert n_chunks == 3
    for number in reversed(range(n_chunks)):
        assert works.do(number).name == "chunk"
    completed, failed, output, errors = works.assemble()
    assert (completed, failed, errors) == (N_ROWS, 0, [])
    np.testing.assert_array_equal(np.load(io.BytesIO(output)), rows() * 2)
    assert works.storage.list_folder(folder_of(BATCH)) == {}


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (BatchStatus.CANCELLED, "batch_cancelled"),
        (BatchStatus.EXPIRED, "batch_expired"),
        (BatchStatus.FAILED, "batch_failed"),
    ],
)
def test_assembly_when_chunks_were_never_run_then_their_rows_are_in_the_error_file(
    works: Works, ending: BatchStatus, code: str
) -> None:
    works.store(lines(rows()), "rows.jsonl")
    n_chunks = works.index()
    works.do(1)
    completed, failed, output, errors = works.assemble(ending)
    done = [json.loads(line)["custom_id"] for line in output.splitlines()]
    assert (len(done), len(errors)) == (completed, failed)
    assert sorted([*done, *(str(line["custom_id"]) for line in errors)]) == sorted(f"id-{n}" for n in range(N_ROWS))
    assert {line["error"]["code"] for line in errors} == {code}  # type: ignore[index]
    assert n_chunks > 1


def test_assembly_when_a_chunk_was_given_up_then_its_rows_failed_and_the_others_keep_their_place(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    for number in range(works.index()):
        works.do(number)
    works.queue.parts_[1] = part_from_text("")
    completed, failed, output, errors = works.assemble()
    assert (completed, failed) == (30, 20)
    assert [line["row"] for line in errors] == list(range(21, 41))
    assert {line["response"]["body"]["error"]["code"] for line in errors} == {"worker_lost"}  # type: ignore[index]
    found = np.load(io.BytesIO(output))
    assert np.isnan(found[20:40]).all()
    np.testing.assert_array_equal(np.delete(found, range(20, 40), axis=0), np.delete(rows() * 2, range(20, 40), axis=0))


@pytest.mark.parametrize("left", [None, b"", b"cut"])
def test_assembly_when_a_part_did_not_outlive_a_power_cut_then_its_chunk_is_run_again(
    works: Works, left: bytes | None
) -> None:
    works.store(npy(rows()), "rows.npy")
    for number in range(works.index()):
        works.do(number, token=f"t{number}")
    key = part_key(BATCH, 1, "t1", "out")
    works.storage.delete(key)
    if left is not None:
        with works.storage.create(key) as upload:
            upload.write(left)
    completed, failed, output, errors = works.assemble()
    assert (completed, failed, errors) == (N_ROWS, 0, [])
    np.testing.assert_array_equal(np.load(io.BytesIO(output)), rows() * 2)


def test_chunk_when_rows_raise_then_they_alone_are_in_the_error_file(tmp_path: Path) -> None:
    def compute(x: np.ndarray) -> list[np.ndarray]:
        if (x == 30).any():
            raise ValueError("30")
        return doubled(x)

    works = Works(tmp_path, compute)
    works.store(lines(rows()), "rows.jsonl")
    for number in range(works.index()):
        works.do(number)
    completed, failed, output, errors = works.assemble()
    assert (completed, failed) == (N_ROWS - 1, 1)
    assert (errors[0]["custom_id"], errors[0]["line"]) == ("id-10", 11)
    assert len(output.splitlines()) == N_ROWS - 1


def test_assembly_when_nothing_succeeded_then_there_is_no_output_file(tmp_path: Path) -> None:
    def compute(x: np.ndarray) -> list[np.ndarray]:
        raise ValueError("never")

    works = Works(tmp_path, compute)
    works.store(npy(rows(5)), "rows.npy")
    works.index()
    works.do(0)
    completed, failed, output, errors = works.assemble()
    assert (completed, failed, output, len(errors)) == (0, 5, b"", 5)


@pytest.mark.parametrize(
    ("data", "filename", "metadata", "code", "message"),
    [
        (b"", "rows.npy", {}, "invalid_file", "empty"),
        (b"?" * 10, "rows.bin", {}, "invalid_file", "known format"),
        (npy(rows()), "rows.npy", {"output_format": "xml"}, "invalid_output_format", "no format"),
        (npy(rows()), "rows.npy", {"join": "id"}, "invalid_output_format", "no columns to join"),
        (lines(rows()), "rows.jsonl", {"join": "input"}, "wrong_columns", "join=input is for columns"),
        (npy(np.zeros((2, 4), np.float32)), "rows.npy", {}, "invalid_file", "rows of shape (4,)"),
        (b"no json\n", "rows.jsonl", {}, "invalid_json_line", "not a JSON object"),
    ],
)
def test_index_when_the_file_cannot_be_used_then_it_is_refused_with_the_reason(
    works: Works, data: bytes, filename: str, metadata: dict[str, str], code: str, message: str
) -> None:
    works.store(data, filename, metadata=metadata)
    outcome = works.do("index")
    assert outcome.name == "refused"
    (fault, *_) = json.loads(str(outcome.args[0]))
    assert fault["code"] == code
    assert message in fault["message"]


def test_chunk_when_the_input_is_gone_then_the_batch_breaks_and_says_so(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    works.index()
    works.storage.delete(key_of(works.queue.record.input_file_id))
    outcome = works.do(0)
    assert (outcome.name, outcome.args[0]) == ("broken", "file_not_found")


def test_chunk_when_the_file_is_another_one_by_now_then_the_batch_breaks(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    works.index()
    works.store(npy(rows(3)), "rows.npy")
    outcome = works.do(1)
    assert (outcome.name, outcome.args[0]) == ("broken", "invalid_file")
    assert "was it replaced?" in str(outcome.args[1])


def test_chunk_when_the_storage_is_full_then_it_waits_a_minute_and_breaks(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.store(npy(rows()), "rows.npy")
    works.index()

    def full(key: str, **_: bool) -> object:
        raise StorageError("the file storage takes no more", retry_after_s=5)

    monkeypatch.setattr(works.storage, "create", full)
    started = works.now
    outcome = works.do(0)
    assert outcome.args == ("storage_unavailable", "the file storage takes no more")
    assert works.now - started == pytest.approx(STORAGE_PATIENCE_S, abs=2)


def test_chunk_when_the_storage_is_away_for_a_moment_then_it_is_stored_after(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.store(npy(rows()), "rows.npy")
    works.index()
    create, tries = works.storage.create, iter([True, True, False])

    def sometimes(key: str, **how: bool) -> object:
        if next(tries, False):
            raise StorageError("away")
        return create(key, **how)

    monkeypatch.setattr(works.storage, "create", sometimes)
    assert works.do(0).name == "chunk"


def test_step_when_redis_is_away_at_its_end_then_it_is_recorded_later(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    works.queue.away = 3
    works.index()


def test_step_when_something_unforeseen_happens_then_the_batch_breaks_and_the_worker_lives(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.store(npy(rows()), "rows.npy")
    works.index()
    monkeypatch.setattr("worker.bulk.runner.run_chunk", lambda *_: 1 / 0)
    outcome = works.do(0)
    assert outcome.name == "broken"
    assert outcome.args == ("internal", "ZeroDivisionError: division by zero")


def test_chunk_when_its_claim_was_lost_then_nothing_is_recorded(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    works.index()
    works.queue.is_held = False
    n_settled = len(works.queue.settled)
    claim = Claim("t", (ClaimedJob(f"{BATCH}/0", 1, b"", 1, 1),))
    summary = works.runner.work(claim, TOY, works.model, lambda *_: None)
    works.runner.finish()
    assert (summary.outcome, len(works.queue.settled)) == ("lost", n_settled)
    assert works.leases.held == set()


def test_index_when_the_worker_is_told_to_stop_then_it_is_left_to_another(works: Works) -> None:
    works.store(lines(rows(2000)), "rows.jsonl")
    works.leases.is_leaving = True
    slow = works.storage.open

    def open_slowly(key: str) -> object:
        works.now += 1  # so that a pause is due
        return slow(key)

    works.storage.open = open_slowly  # type: ignore[method-assign,assignment]
    works.files.storage = works.storage
    clock = iter(np.arange(0, 10_000, 0.01).tolist())
    works.runner._clock = lambda: next(clock)  # every look at the clock finds a slice over
    assert works.do("index").name == "released"


@pytest.mark.parametrize(("a_us", "is_beside"), [(10.0, True), (10_000.0, False)])
def test_chunk_when_a_job_waits_while_a_slow_batch_runs_then_it_is_served_beside_it_unless_it_would_fill_it(
    tmp_path: Path, a_us: float, is_beside: bool
) -> None:
    served = threading.Event()
    mains: list[bool] = []

    def compute(x: np.ndarray) -> list[np.ndarray]:
        if is_beside:
            assert served.wait(60)
        return doubled(x)

    def serve(key: tuple[str, str], until: float, alongside: object) -> None:
        mains.append(threading.current_thread() is threading.main_thread())
        assert (key, alongside is None) == (TOY, is_beside or works.queue.waits is False)
        served.set()

    works = Works(tmp_path, compute)
    works.model.profile = Profile(
        sizes=(1,), microseconds=(a_us + 10,), a_us=a_us, b_us=10, max_rows=8, max_wait_ms=0, machine="m",
        measured_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    works.store(npy(rows()), "rows.npy")
    works.index()
    works.queue.waits = is_beside
    claim = Claim("t", (ClaimedJob(f"{BATCH}/0", 1, b"", 1, 1),))
    works.runner.work(claim, TOY, works.model, serve)
    works.runner.finish()
    assert set(mains) == ({True} if is_beside else set())
    assert works.queue.settled[-1][1].name == "chunk"
