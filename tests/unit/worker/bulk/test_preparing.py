"""Packed files and other encodings: a copy is made once, chunks are read from it, and it goes with the batch."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pytest

from ferry.bulk.batch_records import folder_of, prepared_key
from ferry.bulk.formats import base
from ferry.bulk.storage import StorageError
from tests.unit.worker.bulk.test_steps_of_a_batch import BATCH, N_ROWS, Works, lines, npy, rows
from worker.bulk import batch_files

TABLE = "x_0,x_1,x_2,größe\n" + "".join(f"{i},{i + 1},{i + 2},ä{i}\n" for i in range(N_ROWS))


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.fixture
def works(tmp_path) -> Works:
    return Works(tmp_path)


def run(works: Works, data: bytes, filename: str, **metadata: str) -> list[dict[str, str]]:
    """Take a file through every step; returns the rows of its CSV output."""
    works.store(data, filename, metadata={"output_format": "csv", **metadata})
    for number in range(works.index()):
        assert works.do(number).name == "chunk"
    completed, failed, output, _ = works.assemble()
    assert failed == 0
    assert works.storage.list_folder(folder_of(BATCH)) == {}, "the copy goes with the batch"
    found = list(csv.DictReader(io.StringIO(output.decode(), newline="")))
    assert len(found) == completed
    return found


def refusal(works: Works, data: bytes, filename: str, **metadata: str) -> dict[str, object]:
    works.store(data, filename, metadata=metadata)
    outcome = works.do("index")
    assert outcome.name == "refused"
    assert works.storage.list_folder("batches") == {}, "of a file that is refused no copy is kept"
    (fault,) = json.loads(str(outcome.args[0]))
    return fault


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize(
    ("data", "filename"),
    [(TABLE.encode(), "rows.csv"), (TABLE.replace(",", "\t").encode(), "rows.tsv"), (lines(rows()), "rows.jsonl"),
     (npy(rows()), "rows.npy")],
)  # fmt: skip
def test_batch_when_its_file_is_packed_then_it_runs_as_any_other(
    works: Works, data: bytes, filename: str, pack
) -> None:
    found = run(works, pack(data), f"{filename}{'.gz' if pack is gzip.compress else '.zst'}")
    assert len(found) == N_ROWS
    assert (float(found[7]["y_1"]) > 0, works.queue.record.is_prepared) == (True, True)


@pytest.mark.parametrize(
    ("encoding", "asked"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", ""), ("utf-16-le", "utf-16-le"), ("cp1252", "cp1252"),
     ("cp1252", "windows-1252"), ("latin-1", "latin-1"), ("utf-32", ""), ("utf-8", "utf-8")],
)  # fmt: skip
@pytest.mark.parametrize("is_packed", [False, True])
def test_batch_when_its_text_is_in_another_encoding_then_every_letter_is_right(
    works: Works, encoding: str, asked: str, is_packed: bool
) -> None:
    data = TABLE.encode(encoding)
    options = {"encoding": asked} if asked else {}
    name = "rows.csv.gz" if is_packed else "rows.csv"
    found = run(works, gzip.compress(data) if is_packed else data, name, join="größe", **options)
    assert [row["größe"] for row in found] == [f"ä{i}" for i in range(N_ROWS)]
    is_utf8 = encoding.startswith("utf-8")
    assert works.queue.record.is_prepared == (is_packed or not is_utf8)
    assert any("read as" in note for note in works.queue.record.notes) != is_utf8


def test_batch_when_json_lines_are_utf_16_then_they_run(works: Works) -> None:
    assert len(run(works, lines(rows()).decode().encode("utf-16"), "rows.jsonl")) == N_ROWS


@pytest.mark.parametrize(
    ("data", "filename", "metadata", "code", "said"),
    [
        (TABLE.encode("cp1252"), "rows.csv", {}, "invalid_encoding", "byte 0xF6 at offset 14"),
        (gzip.compress(TABLE.encode("cp1252")), "rows.csv.gz", {}, "invalid_encoding", "byte 0xF6 at offset 14"),
        (TABLE.encode("utf-16-le"), "rows.csv", {}, "invalid_encoding", "--encoding utf-16-le"),
        (TABLE.encode("utf-16"), "rows.csv", {"encoding": "cp1252"}, "invalid_encoding", "byte order mark"),
        (TABLE.encode("cp1252"), "rows.csv", {"encoding": "ascii"}, "invalid_encoding", "byte 0xF6 at offset 14"),
        (gzip.compress(TABLE.encode())[:-20], "rows.csv.gz", {}, "invalid_file", "cannot be unpacked"),
        (zstd(TABLE.encode())[:-20], "rows.csv.zst", {}, "invalid_file", "cannot be unpacked"),
        (gzip.compress(TABLE.encode()), "rows.csv", {}, "invalid_file", "add .gz to its name"),
        (TABLE.encode(), "rows.csv.gz", {}, "invalid_file", "not gzip"),
        (gzip.compress(b""), "rows.csv.gz", {}, "invalid_file", "empty"),
        (gzip.compress(b"x_0,x_1,x_2\n"), "rows.csv.gz", {}, "empty_file", "no rows"),
        (gzip.compress(gzip.compress(TABLE.encode())), "rows.csv.gz", {}, "invalid_file", "not csv"),
        (npy(rows()), "rows.npy", {"header": "no"}, "unused_option", "header is an option for csv and tsv"),
        (npy(rows()), "rows.npy", {"encoding": "cp1252"}, "unused_option", "encoding is an option for csv and tsv"),
        (lines(rows()), "rows.jsonl", {"decimal": ","}, "unused_option", "decimal is an option for csv and tsv"),
        (b"PK", "rows.xlsx", {}, "invalid_file", "save the sheet as CSV UTF-8"),
    ],
)  # fmt: skip
def test_index_when_the_file_cannot_be_prepared_then_refused_with_the_remedy(
    works: Works, data: bytes, filename: str, metadata: dict[str, str], code: str, said: str
) -> None:
    fault = refusal(works, data, filename, **metadata)
    assert fault["code"] == code
    assert said in str(fault["message"])


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_index_when_a_small_file_unpacks_to_a_huge_one_then_it_is_stopped_at_the_limit(
    works: Works, monkeypatch: pytest.MonkeyPatch, pack
) -> None:
    monkeypatch.setattr(batch_files, "Limits", lambda: base.Limits(max_bytes=3 * 2**20))
    bomb = pack(b"x_0,x_1,x_2\n" + b"1,2,3\n" * 2**21)
    assert len(bomb) < 2**16
    fault = refusal(works, bomb, "rows.csv.gz" if pack is gzip.compress else "rows.csv.zst")
    assert "more than 3145728 bytes" in str(fault["message"])


def test_index_when_the_storage_is_full_then_the_copy_waits_for_it_and_the_batch_breaks(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.store(gzip.compress(TABLE.encode()), "rows.csv.gz")
    create = works.storage.create

    def full(key: str, **how: bool) -> object:
        if key == prepared_key(BATCH):
            raise StorageError("the file storage takes no more")
        return create(key, **how)

    monkeypatch.setattr(works.storage, "create", full)
    assert works.do("index").args == ("storage_unavailable", "the file storage takes no more")


def test_index_when_the_file_has_no_header_then_the_batch_says_so(works: Works) -> None:
    works.store(b"0.5,1,2\n3,4,5\n", "rows.csv")
    works.index()
    assert any("the file has no header" in note for note in works.queue.record.notes)


def test_index_when_the_header_is_said_then_the_options_reach_the_format(works: Works) -> None:
    found = run(works, b"0;1;2\n1,5;2,5;3\n", "rows.csv", header="yes", decimal=",", delimiter=";")
    assert [float(found[0][f"y_{n}"]) for n in range(3)] == [3, 5, 6]
