"""A chunk's part: what is written of its rows, under which name, and what is recorded of it."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from ferry.bulk.batch_records import Part, Place, index_key, part_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.base import ChunkRows, Group, PartResult, RowFault
from ferry.errors import InvalidInputError, NotFoundError, StorageError
from tests.unit.worker.bulk.test_steps_of_a_batch import BATCH, Works, lines, npy, rows
from worker.bulk.batch_files import WorkedBatch, rules_of
from worker.bulk.chunks import RunChunk, read_chunk, run_chunk, store_chunk, to_store
from worker.bulk.row_runner import RowRunner


class Pauses:
    """An interlude in which nobody waits."""

    def pause_if_due(self) -> None:
        pass

    def pause(self, place: Place) -> None:
        pass


PAUSES = Pauses()


@pytest.fixture
def works(tmp_path: Path) -> Works:
    return Works(tmp_path)


def worked(works: Works, data: bytes, filename: str) -> WorkedBatch:
    """Index a file; returns its batch."""
    works.store(data, filename)
    works.index()
    limits, record = works.model.limits, works.queue.record
    return works.files.worked(
        lambda: record,
        lambda known: rules_of(known, works.model.manifest, limits=limits, profile=None, chunk_bytes=240),
        BATCH,
    )


def doubled(source: ChunkRows) -> PartResult:
    return PartResult(source, [[array * 2 for array in group.arrays] for group in source.groups])


def store(works: Works, chunk: RunChunk, token: str = "t") -> Part:
    return store_chunk(chunk, BATCH, token, works.files, PAUSES)  # type: ignore[arg-type]


def part_of(works: Works, kind: str, number: int = 0, token: str = "t") -> bytes:
    return works.storage.read_range(part_key(BATCH, number, token, kind), 0, 10**6)


@pytest.mark.parametrize(("number", "first", "n_rows"), [(0, 0, 20), (1, 20, 20), (2, 40, 10)])
def test_run_chunk_when_every_row_has_an_output_then_there_is_no_error_part(
    works: Works, number: int, first: int, n_rows: int
) -> None:
    batch = worked(works, npy(rows()), "rows.npy")
    chunk = run_chunk(number, batch, doubled, works.files, PAUSES)  # type: ignore[arg-type]
    assert (chunk.number, chunk.completed, chunk.failed, chunk.errors) == (number, n_rows, 0, None)
    part = store(works, chunk)
    assert part == Part("t", n_rows, 0, len(chunk.output), 0, n_rows)
    found = np.load(io.BytesIO(part_of(works, "out", number)))
    np.testing.assert_array_equal(found, rows()[first : first + n_rows] * 2)
    assert list(works.storage.list_folder(f"batches/{BATCH}")) == [
        index_key(BATCH), part_key(BATCH, number, "t", "out")
    ]  # fmt: skip


def test_run_chunk_when_rows_fail_then_each_is_in_one_part_of_the_two(works: Works) -> None:
    batch = worked(works, lines(rows(2)), "rows.jsonl")

    def second_fails(source: ChunkRows) -> PartResult:
        fault = RowFault(1, "model_error", "bad", status=500)
        return PartResult(source, doubled(source).outputs, (fault,))

    part = store(works, run_chunk(0, batch, second_fails, works.files, PAUSES))  # type: ignore[arg-type]
    (out,), (err,) = (part_of(works, kind).splitlines() for kind in ("out", "err"))
    assert (json.loads(out)["custom_id"], json.loads(err)["custom_id"]) == ("id-0", "id-1")
    assert part == Part("t", 1, 1, len(out) + 1, len(err) + 1, 1)


def test_to_store_when_a_row_is_at_fault_twice_then_it_counts_once(works: Works) -> None:
    batch = worked(works, npy(rows(3)), "rows.npy")
    x = rows(3)
    source = ChunkRows(["1", "2", "3"], [1, 2, 3], (Group.plain((0, 2), [x[[0, 2]]]),), (RowFault(1, "a", "read"),))
    faults = (RowFault(1, "b", "run", status=500), RowFault(2, "c", "run", status=500))
    chunk = to_store(0, batch, PartResult(source, [[x[[0, 2]]]], faults))
    assert (chunk.completed, chunk.failed) == (1, 2)
    assert chunk.errors is not None
    assert [json.loads(line)["row"] for line in bytes(chunk.errors).splitlines()] == [2, 3]


def test_store_chunk_when_two_holders_write_it_then_neither_touches_the_others(works: Works) -> None:
    first, second = (RunChunk(0, 1, 0, memoryview(data), None, 1) for data in (b"first", b"second"))
    assert [store(works, first, "a").output_bytes, store(works, second, "b").output_bytes] == [5, 6]
    assert [part_of(works, "out", token=token) for token in "ab"] == [b"first", b"second"]


def test_store_chunk_when_it_is_stored_again_then_the_last_one_counts(works: Works) -> None:
    for data in (b"a long one", b"short"):
        store(works, RunChunk(0, 1, 1, memoryview(data), memoryview(data), 1))
    assert (part_of(works, "out"), part_of(works, "err")) == (b"short", b"short")


def test_run_chunk_when_its_rows_went_through_a_model_then_the_part_holds_what_it_said(works: Works) -> None:
    batch = worked(works, npy(rows()), "rows.npy")
    runner = RowRunner(works.model, PAUSES, Place(0, 1))  # type: ignore[arg-type]
    chunk = run_chunk(0, batch, runner.run, works.files, PAUSES)  # type: ignore[arg-type]
    assert (chunk.completed, chunk.failed) == (19, 1)
    found = np.load(io.BytesIO(bytes(chunk.output)))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], rows()[1:20] * 2)


# --- a chunk that cannot be read


def test_read_chunk_when_the_input_is_gone_then_not_found(works: Works) -> None:
    batch = worked(works, npy(rows()), "rows.npy")
    works.storage.delete(key_of(batch.record.input_file_id))
    with pytest.raises(NotFoundError):
        read_chunk(batch, 0, works.files, PAUSES)  # type: ignore[arg-type]


def test_read_chunk_when_the_index_is_gone_then_not_found(works: Works) -> None:
    batch = worked(works, npy(rows()), "rows.npy")
    works.storage.delete(index_key(BATCH))
    with pytest.raises(NotFoundError):
        read_chunk(batch, 0, works.files, PAUSES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "filename", "other"),
    [
        (npy(rows()), "rows.npy", npy(rows(3))),
        (npy(rows()), "rows.npy", b"no array"),
        (lines(rows()), "rows.jsonl", lines(rows(3))),
    ],
)
def test_read_chunk_when_the_file_is_another_one_by_now_then_it_is_refused(
    works: Works, data: bytes, filename: str, other: bytes
) -> None:
    batch = worked(works, data, filename)
    works.store(other, filename)
    with pytest.raises(InvalidInputError):
        read_chunk(batch, (batch.record.chunks or 0) - 1, works.files, PAUSES)  # type: ignore[arg-type]


class Failing(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError("reset by peer")

    def readinto(self, buffer: object, /) -> int:  # type: ignore[override]
        raise OSError("reset by peer")


def test_read_chunk_when_the_storage_fails_amid_lines_then_they_are_read_anew(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = worked(works, lines(rows()), "rows.jsonl")
    opened, n_failed = works.storage.open, []

    def sometimes(key: str) -> object:
        if key == key_of(batch.record.input_file_id) and len(n_failed) < 2:
            n_failed.append(1)
            return Failing()
        return opened(key)

    monkeypatch.setattr(works.storage, "open", sometimes)
    source = read_chunk(batch, 1, works.files, PAUSES)  # type: ignore[arg-type]
    assert len(n_failed) == 2
    assert source.numbers[0] == len(source.ids) + 1


def test_read_chunk_when_the_storage_stays_away_then_its_error(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = worked(works, npy(rows()), "rows.npy")

    def away(key: str) -> object:
        raise StorageError("away for good")

    monkeypatch.setattr(works.storage, "open", away)
    with pytest.raises(StorageError, match="away for good"):
        read_chunk(batch, 0, works.files, PAUSES)  # type: ignore[arg-type]
