"""The first step of a batch: what is recorded of a file that is right, and what of one that is not."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferry.bulk.batch_records import index_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.base import Rules
from ferry.errors import NotFoundError
from tests.unit.worker.bulk.test_steps_of_a_batch import BATCH, N_ROWS, Works, lines, npy, rows
from worker.bulk.indexing import index_file
from worker.bulk.interludes import StepReleasedError

GOOD = lines(rows(4)).splitlines()


def parquet(x: np.ndarray, **columns: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"x": x.tolist(), **columns}), out)
    return out.getvalue()


class Pauses:
    """An interlude that is never due; `ended` is what a test makes it."""

    ended: Exception | None = None

    def pause_if_due(self) -> None:
        pass


@pytest.fixture
def works(tmp_path: Path) -> Works:
    return Works(tmp_path)


def refusals(works: Works, data: bytes, filename: str = "rows.jsonl", **changes: object) -> list[dict[str, object]]:
    works.store(data, filename, **changes)
    outcome = works.do("index")
    assert outcome.name == "refused"
    assert works.storage.list_folder("batches") == {}, "a file that is refused has no index"
    faults: list[dict[str, object]] = json.loads(str(outcome.args[0]))
    return faults


@pytest.mark.parametrize(
    ("data", "filename", "total", "chunks", "names"),
    [
        (npy(rows()), "rows.npy", N_ROWS, 3, ("npy", "npy")),
        (npy(rows()), "no-suffix", N_ROWS, 3, ("npy", "npy")),
        (npy(rows(1)), "rows.npy", 1, 1, ("npy", "npy")),
        (lines(rows()), "rows.jsonl", N_ROWS, 25, ("jsonl", "jsonl")),
        (b"\n\n" + lines(rows(2)) + b"\n\n", "rows.jsonl", 2, 1, ("jsonl", "jsonl")),
    ],
)
def test_index_file_when_it_is_right_then_its_rows_chunks_and_formats_are_recorded_and_the_index_is_there(
    works: Works, data: bytes, filename: str, total: int, chunks: int, names: tuple[str, str]
) -> None:
    works.store(data, filename)
    outcome = works.do("index")
    assert outcome.name == "indexed"
    n_rows, n_chunks, width, *formats, notes, is_prepared = outcome.args
    assert (n_rows, n_chunks, tuple(formats)) == (total, chunks, names)
    assert (notes, is_prepared) == ("[]", 0)
    assert works.storage.size_bytes(index_key(BATCH)) == chunks * int(width)
    records = works.storage.read_range(index_key(BATCH), 0, 10**6)
    found = [json.loads(records[n * int(width) : (n + 1) * int(width)]) for n in range(chunks)]
    assert [chunk["first"] for chunk in found] == [0, *np.cumsum([chunk["rows"] for chunk in found])[:-1].tolist()]
    assert sum(chunk["rows"] for chunk in found) == total


@pytest.mark.parametrize("asked", ["jsonl", "npz", "csv"])
def test_index_file_when_another_output_is_asked_for_then_it_is_recorded(works: Works, asked: str) -> None:
    works.store(npy(rows()), "rows.npy", metadata={"output_format": asked})
    assert works.do("index").args[3:5] == ("npy", asked)


def test_index_file_when_output_format_is_empty_then_as_the_input(works: Works) -> None:
    works.store(npy(rows()), "rows.npy", metadata={"output_format": ""})
    assert works.do("index").args[3:5] == ("npy", "npy")


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (GOOD[1].replace(b'"POST"', b'"GET"'), "invalid_method", "method"),
        (GOOD[1].replace(b'/v2/models/toy/infer"', b'/v2/models/other/infer"'), "url_mismatch", "url"),
        (GOOD[1].replace(b'"id-1"', b'""'), "missing_custom_id", "custom_id"),
        (GOOD[1].replace(b'"custom_id"', b'"customid"'), "missing_custom_id", "custom_id"),
        (GOOD[1].replace(b'"id-1"', b'"id-0"'), "duplicate_custom_id", "custom_id"),
        (b'{"custom_id": "id-1", "method": "POST", "url": "/v2/models/toy/infer", "body": []}', "invalid_body", "body"),
        (b"[1, 2]", "invalid_json_line", None),
        (GOOD[1][:-1], "invalid_json_line", None),
    ],
)
def test_index_file_when_a_line_is_wrong_then_its_number_and_the_reason(
    works: Works, line: bytes, code: str, param: str | None
) -> None:
    (fault,) = refusals(works, b"\n".join([GOOD[0], line, *GOOD[2:]]))
    assert (fault["code"], fault["line"], fault["param"]) == (code, 2, param)
    assert fault["message"]


def test_index_file_when_very_many_lines_are_wrong_then_the_first_hundred_are_named(works: Works) -> None:
    faults = refusals(works, b"\n".join([GOOD[0], *[b"{"] * 500]))
    assert [fault["line"] for fault in faults] == list(range(2, 102))


@pytest.mark.parametrize(
    ("data", "filename", "changes", "code", "param"),
    [
        (b" \n\n", "rows.jsonl", {}, "invalid_file", None),
        (npy(rows()), "rows.jsonl", {}, "invalid_file", None),
        (npy(rows())[:-1], "rows.npy", {}, "invalid_file", None),
        (npy(rows(0)), "rows.npy", {}, "empty_file", None),
        (lines(rows()), "rows.jsonl", {"metadata": {"join": "input"}}, "wrong_columns", "metadata.join"),
        (npy(rows()), "rows.npy", {"metadata": {"output_format": "xml"}}, "invalid_output_format",
         "metadata.output_format"),
        (lines(rows()), "rows.jsonl", {"metadata": {"output_format": "npy", "join": "id"}}, "invalid_output_format",
         "metadata.output_format"),
        (npy(rows()), "rows.npy", {"metadata": {"csv_escape_formulas": "true"}}, "invalid_output_format",
         "metadata.csv_escape_formulas"),
        (parquet(rows(), note=[b"x"] * N_ROWS), "rows.parquet", {"metadata": {"output_format": "csv", "join": "note"}},
         "invalid_output_format", "metadata.output_format"),
    ],
)  # fmt: skip
def test_index_file_when_it_cannot_be_used_then_the_code_and_what_it_is_of(
    works: Works, data: bytes, filename: str, changes: dict[str, object], code: str, param: str | None
) -> None:
    fault, *_ = refusals(works, data, filename, **changes)
    assert (fault["code"], fault["param"]) == (code, param)


def run(works: Works, pauses: Pauses, rules_of: Callable[..., object]) -> object:
    return index_file(works.queue.record, rules_of, works.files, pauses)  # type: ignore[arg-type]


def test_index_file_when_the_file_is_gone_then_not_found(works: Works) -> None:
    with pytest.raises(NotFoundError):
        run(works, Pauses(), lambda _: None)


def test_index_file_when_the_step_is_to_be_left_then_what_was_read_counts_for_nothing(works: Works) -> None:
    works.store(npy(rows()), "rows.npy")
    pauses = Pauses()
    pauses.ended = StepReleasedError("leaves")
    rules = Rules(works.model.manifest)
    with pytest.raises(StepReleasedError):
        run(works, pauses, lambda _: rules)
    assert works.storage.list_folder("batches") == {}


def test_index_file_when_it_is_done_then_the_input_is_closed(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    works.store(npy(rows()), "rows.npy")
    opened, files = works.storage.open, []

    def remember(key: str) -> object:
        files.append((key, opened(key)))
        return files[-1][1]

    monkeypatch.setattr(works.storage, "open", remember)
    works.index()
    assert [key for key, _ in files] == [key_of(works.queue.record.input_file_id)]
    assert all(file.closed for _, file in files)
