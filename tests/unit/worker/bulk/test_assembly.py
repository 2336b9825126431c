"""Each row of the input stands exactly once over output and error file, whatever became of the chunks."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferry.bulk.batch_records import BatchStatus, Part, part_key
from ferry.bulk.files import key_of
from ferry.errors import StorageError
from tests.unit.worker.bulk.test_steps_of_a_batch import BATCH, N_ROWS, Works, lines, npy, rows

CANCELLED, EXPIRED, COMPLETED = BatchStatus.CANCELLED, BatchStatus.EXPIRED, BatchStatus.COMPLETED
CODES = {CANCELLED: "batch_cancelled", EXPIRED: "batch_expired", BatchStatus.FAILED: "batch_failed"}
# The first number of a row that makes the model raise; rows are three numbers each, counted on.
BAD_ROWS = (4, 21, 49)


def some_raise(x: np.ndarray) -> list[np.ndarray]:
    if np.isin(x[:, 0], np.float32(BAD_ROWS) * 3).any():
        raise ValueError("a bad row")
    return [x * 2]


def code_of(line: dict[str, object]) -> str:
    """The code of a line of the error file, of a row that ran or of one that never did."""
    if line["response"] is None:
        return str(line["error"]["code"])  # type: ignore[index]
    assert line["error"] is None
    return str(line["response"]["body"]["error"]["code"])  # type: ignore[index]


def settle(works: Works, n_chunks: int, fates: Sequence[str]) -> dict[int, str]:
    """Let each chunk be run, given up, or never run; returns the fate of each chunk."""
    fate_of = {number: fates[number % len(fates)] for number in range(n_chunks)}
    for number, fate in fate_of.items():
        if fate == "run":
            works.do(number, token=f"t{number}")
        elif fate == "lost":
            works.queue.parts_[number] = Part("", 0, 0)
    return fate_of


def wanted(fate: str, row: int, ending: BatchStatus) -> str:
    """What becomes of a row: empty where it has output."""
    if fate == "run":
        return "model_error" if row in BAD_ROWS else ""
    return "worker_lost" if fate == "lost" else CODES[ending]


fates = st.lists(st.sampled_from(["run", "lost", "never"]), min_size=1, max_size=6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=fates, ending=st.sampled_from(list(CODES)))
def test_run_when_chunks_were_run_lost_or_never_run_then_each_line_stands_once(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str], ending: BatchStatus
) -> None:
    works = Works(tmp_path_factory.mktemp("jsonl"), some_raise)
    works.store(lines(rows()), "rows.jsonl")
    n_chunks = works.index()
    fate_of = settle(works, n_chunks, fates)
    completed, failed, output, errors = works.assemble(ending)
    per_chunk = N_ROWS // n_chunks
    assert per_chunk * n_chunks == N_ROWS
    expected = [wanted(fate_of[row // per_chunk], row, ending) for row in range(N_ROWS)]
    done = [json.loads(line) for line in output.splitlines()]
    assert [line["custom_id"] for line in done] == [f"id-{row}" for row, code in enumerate(expected) if not code]
    numbers = [int(str(line.get("line") or line["row"])) for line in errors]
    assert [(number - 1, code_of(line)) for number, line in zip(numbers, errors, strict=True)] == [
        (row, code) for row, code in enumerate(expected) if code
    ]
    for number, line in zip(numbers, errors, strict=True):
        # A chunk that was given up is not read again, so of its rows no more is known than their numbers.
        is_read = fate_of[(number - 1) // per_chunk] != "lost"
        assert line["custom_id"] == (f"id-{number - 1}" if is_read else str(number))
    assert (completed, failed) == (len(done), len(errors))
    assert completed + failed == N_ROWS
    for line in done:
        row = int(line["custom_id"].removeprefix("id-"))
        (y,) = line["response"]["body"]["outputs"]
        assert y["data"] == (rows()[row] * 2).tolist()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=fates, ending=st.sampled_from(list(CODES)))
def test_run_when_chunks_of_an_array_were_run_lost_or_never_run_then_each_row_is_in_its_place_or_in_the_error_file(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str], ending: BatchStatus
) -> None:
    works = Works(tmp_path_factory.mktemp("npy"), some_raise)
    works.store(npy(rows()), "rows.npy")
    n_chunks = works.index()
    fate_of = settle(works, n_chunks, fates)
    completed, failed, output, errors = works.assemble(ending)
    expected = [wanted(fate_of[row // 20], row, ending) for row in range(N_ROWS)]
    assert {int(str(line["row"])) - 1: code_of(line) for line in errors} == {
        row: code for row, code in enumerate(expected) if code
    }
    assert (completed, failed) == (expected.count(""), N_ROWS - expected.count(""))
    assert len(errors) == failed
    if not completed:
        assert output == b""
        return
    found = np.load(io.BytesIO(output))
    good = [row for row, code in enumerate(expected) if not code]
    np.testing.assert_array_equal(found[good], rows()[good] * 2)
    assert np.isnan(np.delete(found, good, axis=0)).all()


@pytest.fixture
def works(tmp_path: Path) -> Works:
    return Works(tmp_path)


def test_run_when_the_input_is_gone_then_rows_that_never_ran_are_named_by_their_numbers(works: Works) -> None:
    works.store(lines(rows()), "rows.jsonl")
    n_chunks = works.index()
    works.do(0)
    works.storage.delete(key_of(works.queue.record.input_file_id))
    completed, failed, output, errors = works.assemble(BatchStatus.FAILED)
    per_chunk = N_ROWS // n_chunks
    assert (completed, failed) == (per_chunk, N_ROWS - per_chunk)
    assert [line["custom_id"] for line in errors] == [str(n) for n in range(per_chunk + 1, N_ROWS + 1)]
    assert {code_of(line) for line in errors} == {"batch_failed"}
    assert len(output.splitlines()) == per_chunk


def test_run_when_rows_that_never_ran_do_not_fit_the_model_then_that_is_why_they_failed(works: Works) -> None:
    bad = lines(rows()).replace(b'"id-49"', b'"bad"').replace(b"[147.0, 148.0, 149.0]", b'["a", "b", "c"]')
    works.store(bad, "rows.jsonl")
    works.index()
    _, failed, _, errors = works.assemble(CANCELLED)
    codes = {str(line["custom_id"]): code_of(line) for line in errors}
    assert failed == N_ROWS
    assert codes.pop("bad") == "invalid_input"
    assert set(codes.values()) == {"batch_cancelled"}


def test_run_when_a_part_was_written_by_two_holders_then_the_one_that_was_recorded_counts(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    for number in range(works.index()):
        works.do(number, token="winner")
    with works.storage.create(part_key(BATCH, 1, "late", "out")) as upload:
        upload.write(npy(np.zeros((20, 3), np.float32)))
    np.testing.assert_array_equal(np.load(io.BytesIO(works.assemble()[2])), rows() * 2)


def test_run_when_an_error_part_did_not_outlive_a_power_cut_then_its_chunk_is_run_again(tmp_path: Path) -> None:
    works = Works(tmp_path, some_raise)
    works.store(npy(rows()), "rows.npy")
    for number in range(works.index()):
        works.do(number, token=f"t{number}")
    works.storage.delete(part_key(BATCH, 1, "t1", "err"))
    completed, failed, _, errors = works.assemble()
    assert (completed, failed) == (N_ROWS - 3, 3)
    assert [line["row"] for line in errors] == [row + 1 for row in BAD_ROWS]


def test_run_when_the_storage_fails_amid_a_file_then_it_is_written_anew_and_nothing_stands_twice(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.store(npy(rows()), "rows.npy")
    for number in range(works.index()):
        works.do(number)
    opened, tries = works.storage.open, iter([False, False, False, False, True])

    def sometimes(key: str) -> object:
        if next(tries, False):
            raise StorageError("away")
        return opened(key)

    monkeypatch.setattr(works.storage, "open", sometimes)
    completed, failed, output, _ = works.assemble()
    assert (completed, failed) == (N_ROWS, 0)
    np.testing.assert_array_equal(np.load(io.BytesIO(output)), rows() * 2)


@pytest.mark.parametrize(("own_ttl_s", "ttl_ms"), [(None, 600_000), (77.5, 77_500)])
def test_run_when_the_files_are_made_then_they_have_names_sizes_and_a_time_to_live(
    tmp_path: Path, own_ttl_s: float | None, ttl_ms: int
) -> None:
    works = Works(tmp_path, some_raise)
    works.store(npy(rows()), "rows.npy", output_ttl_s=own_ttl_s, metadata={"output_format": "npz"})
    for number in range(works.index()):
        works.do(number)
    _, _, output, _ = works.assemble()
    args = works.queue.settled[-1][1].args
    assert (args[3], args[4], args[6]) == (len(output), f"{BATCH}_output.npz", ttl_ms)
    assert (args[8], args[9], args[11]) == (
        works.storage.size_bytes(key_of(str(args[7]))), f"{BATCH}_errors.jsonl", ttl_ms,
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(io.BytesIO(output))["y"][0], rows()[0] * 2)
