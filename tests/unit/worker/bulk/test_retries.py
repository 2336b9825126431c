"""The failed rows of a batch, run again and merged: the file is what one batch without those failures gives."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferry.bulk.batch_records import BatchRecord, BatchStatus
from ferry.bulk.files import key_of
from tests.unit.worker.bulk.test_assembly import code_of, settle, some_raise
from tests.unit.worker.bulk.test_inline_errors import frame
from tests.unit.worker.bulk.test_steps_of_a_batch import N_ROWS, Works, lines, npy, rows

fates = st.lists(st.sampled_from(["run", "lost", "never"]), min_size=1, max_size=6)
# A blank line, so that the numbers of lines are not those of rows.
LINES = lines(rows()).replace(b"\n", b"\n\n  \n", 3)
CASES = {
    "jsonl": (LINES, "in.jsonl", {}),
    "jsonl inline": (LINES, "in.jsonl", {"errors": "inline"}),
    "csv": (frame(), "in.csv", {"join": "name"}),
    "csv inline": (frame(), "in.csv", {"join": "name", "errors": "inline"}),
    "jsonl to tsv": (LINES, "in.jsonl", {"output_format": "tsv"}),
    "parquet": (frame(), "in.csv", {"output_format": "parquet", "join": "name"}),
    "parquet inline": (frame(), "in.csv", {"output_format": "parquet", "join": "name", "errors": "inline"}),
    "arrow": (frame(), "in.csv", {"output_format": "arrow"}),
    "npy": (npy(rows()), "in.npy", {}),
    "jsonl to npy": (LINES, "in.jsonl", {"output_format": "npy"}),
    "npz": (npy(rows()), "in.npy", {"output_format": "npz"}),
}


class Retry:
    """A batch, and a further one that runs its failed rows again."""

    def __init__(self, folder: Path, case: str) -> None:
        self.data, self.filename, self.metadata = CASES[case]
        self.folder = folder

    def started(self, *, is_bad: bool) -> Works:
        works = Works(self.folder, some_raise) if is_bad else Works(self.folder)
        works.store(self.data, self.filename, metadata=self.metadata)
        return works

    def reference(self) -> bytes:
        """Return the output of one batch without failures."""
        works = self.started(is_bad=False)
        for number in range(works.index()):
            works.do(number, token=f"r{number}")
        return works.assemble()[2]

    def again(self, earlier: Works, *, is_bad: bool = False) -> Works:
        """Return the batch that runs the failed rows of an ended one again."""
        outcome = earlier.queue.settled[-1][1]
        works = self.started(is_bad=is_bad)
        works.queue.record = replace(
            works.queue.record, metadata=self.metadata | {"retry_of": "batch_first"},
            retry_output_id=str(outcome.args[2]) or None, retry_error_id=str(outcome.args[7]),
        )  # fmt: skip
        return works


def same(case: str, one: bytes, other: bytes) -> bool:
    """Say whether two outputs hold the same rows: of text and arrays the same bytes."""
    if "parquet" in case:
        return pq.read_table(io.BytesIO(one)).equals(pq.read_table(io.BytesIO(other)))
    if "arrow" in case:
        return pa.ipc.open_file(io.BytesIO(one)).read_all().equals(pa.ipc.open_file(io.BytesIO(other)).read_all())
    if "npz" in case:
        both = np.load(io.BytesIO(one)), np.load(io.BytesIO(other))
        return both[0].files == both[1].files and np.array_equal(both[0]["y"], both[1]["y"], equal_nan=True)
    return one == other


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=fates, again=fates)
def test_retry_when_the_failed_rows_succeed_then_the_file_of_one_batch(
    tmp_path_factory: pytest.TempPathFactory, case: str, fates: list[str], again: list[str]
) -> None:
    retry = Retry(tmp_path_factory.mktemp("retry"), case)
    reference = retry.reference()
    works = retry.started(is_bad=True)
    settle(works, works.index(), fates)
    completed, failed, _, errors = works.assemble(BatchStatus.CANCELLED)
    # Once more with workers that die and a cancel, then to the end: a chain of three.
    second = retry.again(works, is_bad=True)
    settle(second, second.index(), again)
    assert second.queue.record.total == failed == len(errors)
    done, still, _, errors = second.assemble(BatchStatus.CANCELLED)
    assert (done + still, len(errors)) == (failed, still)
    if not still:
        return
    third = retry.again(second)
    for number in range(third.index()):
        third.do(number, token=f"t{number}")
    done, left, output, _ = third.assemble()
    assert (completed, done, left) == (completed, still, 0)
    assert same(case, output, reference)


@pytest.mark.parametrize("case", CASES)
def test_retry_when_rows_fail_again_then_they_are_named_again_and_nothing_else_changes(
    tmp_path: Path, case: str
) -> None:
    retry = Retry(tmp_path, case)
    works = retry.started(is_bad=True)
    for number in range(works.index()):
        works.do(number, token=f"t{number}")
    _, failed, output, errors = works.assemble()
    second = retry.again(works, is_bad=True)
    n_chunks = second.index()
    for number in range(n_chunks):
        second.do(number, token=f"t{number}")
    done, still, merged, again = second.assemble()
    assert (done, still) == (0, failed)
    assert same(case, merged, output)
    assert [line["custom_id"] for line in again] == [line["custom_id"] for line in errors]
    assert {code_of(line) for line in again} == {"model_error"}
    # Chunks whose rows all succeeded are not read again.
    assert n_chunks <= failed < N_ROWS


@pytest.mark.parametrize("case", ["csv", "npy", "parquet inline"])
def test_retry_when_a_part_does_not_outlive_a_crash_then_it_is_run_again(tmp_path: Path, case: str) -> None:
    retry = Retry(tmp_path, case)
    reference = retry.reference()
    works = retry.started(is_bad=True)
    for number in range(works.index()):
        works.do(number, token=f"t{number}")
    works.assemble()
    second = retry.again(works)
    for number in range(second.index()):
        second.do(number, token=f"t{number}")
    (lost,) = (key for key in second.storage.list_folder("batches") if key.endswith("0-t0.at"))
    second.storage.delete(lost)
    assert same(case, second.assemble()[2], reference)


@pytest.mark.parametrize("what", ["output", "error"])
def test_retry_when_a_file_of_the_earlier_batch_is_gone_then_says_which(tmp_path: Path, what: str) -> None:
    retry = Retry(tmp_path, "csv")
    works = retry.started(is_bad=True)
    for number in range(works.index()):
        works.do(number, token=f"t{number}")
    works.assemble()
    second = retry.again(works)
    record: BatchRecord = second.queue.record
    second.storage.delete(key_of(str(record.retry_output_id if what == "output" else record.retry_error_id)))
    if what == "error":
        outcome = second.do("index")
    else:
        for number in range(second.index()):
            second.do(number, token=f"t{number}")
        outcome = second.do("assemble")
    assert outcome.name == "broken"
    assert outcome.args[0] == "file_not_found"
    assert f"the {what} file of batch_first was deleted, or its time is over" in str(outcome.args[1])
