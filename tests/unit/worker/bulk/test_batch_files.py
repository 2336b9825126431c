"""What a worker keeps of batches, their index, and how long it waits for a storage that is away."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ferry.bulk.batch_records import BatchRecord, BatchStatus, index_key
from ferry.bulk.files import key_of, new_file_id
from ferry.bulk.formats.base import Chunk, Rules
from ferry.bulk.storage import Storage
from ferry.errors import InvalidInputError, NotFoundError, StorageError
from ferry.profile import BatchLimits
from tests.manifests import manifest, profile
from worker.bulk.batch_files import (
    CHUNK_BATCHES,
    CHUNK_S,
    REMEMBERED,
    STORAGE_PATIENCE_S,
    STORAGE_RETRY_S,
    BatchFiles,
    rules_of,
)

BATCH = "batch_abc"
LIMITS = BatchLimits(8, 0.0)


def record(batch_id: str = BATCH, **changes: object) -> BatchRecord:
    made = BatchRecord(
        batch_id, BatchStatus.IN_PROGRESS, "toy", "1", "/v2/models/toy/infer", new_file_id(), "rows.npy", 1, "1h", {},
        1, 2, format="npy", output_format="npy",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


class Pauses:
    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.n = 0
        self.meanwhile = meanwhile

    def pause_if_due(self) -> None:
        self.n += 1
        self.meanwhile()


class Bench:
    """Files of a folder, a clock that sleeping turns."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.slept = 0
        self.pauses = Pauses()
        self.storage = Storage(str(folder))
        self.files = BatchFiles(self.storage, clock=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        assert self.slept < 100_000

    def patiently(self, action: Callable[[], object]) -> object:
        return self.files.patiently(self.pauses, action)  # type: ignore[arg-type,func-returns-value]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def failing(n_times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """Return what fails so often and then says `done`, and a list that has an entry per try."""
    tries: list[int] = []

    def action() -> str:
        tries.append(1)
        if len(tries) <= n_times:
            raise error
        return "done"

    return action, tries


# --- a storage that is away


def test_patiently_when_all_is_well_then_once_and_no_pause(bench: Bench) -> None:
    action, tries = failing(0, StorageError("away"))
    assert bench.patiently(action) == "done"
    assert (len(tries), bench.pauses.n, bench.slept) == (1, 0, 0)


def test_patiently_when_the_storage_is_away_for_a_moment_then_again_and_others_are_served_meanwhile(
    bench: Bench,
) -> None:
    action, tries = failing(3, StorageError("away"))
    started = bench.now
    assert bench.patiently(action) == "done"
    assert len(tries) == 4
    assert bench.now - started == pytest.approx(3 * STORAGE_RETRY_S, abs=0.1)
    assert bench.pauses.n == bench.slept > 3


def test_patiently_when_the_storage_stays_away_then_its_error_after_a_minute(bench: Bench) -> None:
    error = StorageError("away for good")
    action, tries = failing(10_000, error)
    started = bench.now
    with pytest.raises(StorageError) as raised:
        bench.patiently(action)
    assert raised.value is error
    assert bench.now - started == pytest.approx(STORAGE_PATIENCE_S, abs=STORAGE_RETRY_S + 0.1)
    assert len(tries) == pytest.approx(STORAGE_PATIENCE_S / STORAGE_RETRY_S, abs=2)


@pytest.mark.parametrize("error", [NotFoundError("gone"), InvalidInputError("damaged"), ValueError("a mistake")])
def test_patiently_when_waiting_would_not_help_then_the_error_at_once(bench: Bench, error: Exception) -> None:
    action, tries = failing(1, error)
    with pytest.raises(type(error)):
        bench.patiently(action)
    assert (len(tries), bench.slept) == (1, 0)


def test_patiently_when_the_file_goes_while_the_storage_is_away_then_that_is_what_is_raised(bench: Bench) -> None:
    errors = iter([StorageError("away"), NotFoundError("gone")])

    def action() -> None:
        raise next(errors)

    with pytest.raises(NotFoundError):
        bench.patiently(action)


def test_patiently_when_the_step_is_to_be_left_then_it_waits_no_longer(bench: Bench) -> None:
    def leave() -> None:
        raise KeyError("left")

    bench.pauses.meanwhile = leave
    action, tries = failing(10_000, StorageError("away"))
    with pytest.raises(KeyError):
        bench.patiently(action)
    assert len(tries) == 1


# --- what is kept


def rules(made: BatchRecord) -> Rules:
    return Rules(manifest(), batch_id=made.id)


def test_worked_when_asked_again_then_the_record_is_read_once(bench: Bench) -> None:
    reads: list[int] = []

    def read() -> BatchRecord:
        reads.append(1)
        return record(output_format="npz")

    first = bench.files.worked(read, rules, BATCH)
    assert bench.files.worked(read, rules, BATCH) is first
    assert (first.source.name, first.target.name, len(reads)) == ("npy", "npz", 1)
    bench.files.forget(BATCH)
    bench.files.forget(BATCH)
    assert bench.files.worked(read, rules, BATCH) is not first
    assert len(reads) == 2


@pytest.mark.parametrize("missing", ["format", "output_format"])
def test_worked_when_the_batch_has_no_index_then_it_is_refused_and_nothing_kept(bench: Bench, missing: str) -> None:
    with pytest.raises(ValueError, match="no index"):
        bench.files.worked(lambda: record(**{missing: None}), rules, BATCH)
    assert bench.files.worked(record, rules, BATCH).source.name == "npy"


def test_worked_when_there_are_more_batches_than_are_remembered_then_the_one_unused_for_longest_goes(
    bench: Bench,
) -> None:
    def work(name: str) -> bool:
        """Say whether the record had to be read."""
        reads: list[int] = []

        def read() -> BatchRecord:
            reads.append(1)
            return record(name)

        bench.files.worked(read, rules, name)
        return bool(reads)

    names = [f"batch_{n}" for n in range(REMEMBERED)]
    assert all(work(name) for name in names)
    assert not work(names[0])
    assert work("batch_new")
    assert not work(names[0])
    assert work(names[1])


# --- the index

CHUNKS = (Chunk(0, 9), Chunk(9, 1000, {"start": 12_345, "name": "ümlaut"}), Chunk(1009, 1, {"end": None}))


def test_write_index_when_read_then_each_chunk_is_found_by_its_number(bench: Bench) -> None:
    width = bench.files.write_index(BATCH, CHUNKS, bench.pauses)  # type: ignore[arg-type]
    assert bench.storage.size_bytes(index_key(BATCH)) == 3 * width
    made = record(width=width, chunks=3)
    for number in (2, 0, 1):
        assert bench.files.chunk(made, number, bench.pauses) == CHUNKS[number]  # type: ignore[arg-type]
    assert width == max(len(json.dumps(chunk.to_dict(), separators=(",", ":"))) for chunk in CHUNKS)


def test_write_index_when_the_storage_is_away_then_written_once_it_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, away = bench.storage.create, iter([True, True])

    def sometimes(key: str, **how: bool) -> object:
        if next(away, False):
            raise StorageError("away")
        return create(key, **how)

    monkeypatch.setattr(bench.storage, "create", sometimes)
    width = bench.files.write_index(BATCH, CHUNKS, bench.pauses)  # type: ignore[arg-type]
    assert bench.storage.size_bytes(index_key(BATCH)) == 3 * width


def test_open_input_when_it_was_deleted_then_not_found(bench: Bench) -> None:
    made = record()
    with bench.storage.create(key_of(made.input_file_id)) as upload:
        upload.write(b"rows")
    with bench.files.open_input(made, bench.pauses) as file:  # type: ignore[arg-type]
        assert file.read() == b"rows"
    bench.storage.delete(key_of(made.input_file_id))
    with pytest.raises(NotFoundError):
        bench.files.open_input(made, bench.pauses)  # type: ignore[arg-type]
    assert bench.slept == 0


@pytest.mark.parametrize("is_lasting", [True, False])
def test_write_when_it_is_told_whether_it_lasts_then_the_storage_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_lasting: bool
) -> None:
    create, heard = bench.storage.create, []

    def hear(key: str, *, is_lasting: bool = True) -> object:
        heard.append(is_lasting)
        return create(key, is_lasting=is_lasting)

    monkeypatch.setattr(bench.storage, "create", hear)
    bench.files.write("batches/batch_abc/x", b"data", bench.pauses, is_lasting=is_lasting)  # type: ignore[arg-type]
    assert heard == [is_lasting]
    assert bench.storage.read_range("batches/batch_abc/x", 0, 9) == b"data"


# --- rules


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [("/v1/predictions", "predictions"), ("/v2/models/toy/infer", "infer"), ("/v2/models/a/versions/2/infer", "infer")],
)
def test_rules_of_when_an_endpoint_is_named_then_lines_are_read_as_its_bodies(endpoint: str, kind: str) -> None:
    made = rules_of(record(endpoint=endpoint), manifest(), limits=LIMITS, profile=None, chunk_bytes=77)
    assert (made.endpoint, made.url, made.chunk_bytes, made.batch_id) == (kind, endpoint, 77, "abc")


@pytest.mark.parametrize(
    ("text", "join"), [(None, ()), ("", ()), ("id", ("id",)), ("id,,name,", ("id", "name")), ("input", ("input",))]
)
def test_rules_of_when_columns_are_to_be_joined_then_they_are_named(text: str | None, join: tuple[str, ...]) -> None:
    made = record(metadata={} if text is None else {"join": text})
    assert rules_of(made, manifest(), limits=LIMITS, profile=None, chunk_bytes=1).join == join


@pytest.mark.parametrize(("text", "escapes"), [(None, False), ("false", False), ("true", True)])
def test_rules_of_when_formulas_are_to_be_escaped_then_they_are(text: str | None, escapes: bool) -> None:
    made = record(metadata={} if text is None else {"csv_escape_formulas": text})
    assert rules_of(made, manifest(), limits=LIMITS, profile=None, chunk_bytes=1).escape_formulas == escapes


@pytest.mark.parametrize(
    ("a_us", "b_us", "n_rows"),
    [
        (0.0, 1.0, int(CHUNK_S * 1e6)),
        (80.0, 10.0, int(CHUNK_S * 1e6 / 20)),  # 80 us are shared by a batch of 8
        (0.0, 1e9, 1),  # a row takes longer than a chunk is to
        (0.0, 0.0, int(CHUNK_S * 1e7)),  # too fast to be measured
    ],
)
def test_rules_of_when_the_model_was_measured_then_a_chunk_takes_half_a_second(
    a_us: float, b_us: float, n_rows: int
) -> None:
    measured = profile(max_rows=8, a_us=a_us, b_us=b_us)
    made = rules_of(record(), manifest(), limits=LIMITS, profile=measured, chunk_bytes=1)
    assert made.chunk_rows == n_rows


def test_rules_of_when_nothing_is_known_of_the_model_then_a_chunk_is_some_batches() -> None:
    assert rules_of(record(), manifest(), limits=LIMITS, profile=None, chunk_bytes=1).chunk_rows == 8 * CHUNK_BATCHES
