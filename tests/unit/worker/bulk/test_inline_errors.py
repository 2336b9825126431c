"""`errors: inline`: row n of the output is row n of the input, whatever became of the chunks."""

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferry.bulk.batch_records import BatchStatus, index_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.base import Chunk, PartResult
from ferry.bulk.formats.table_output import to_table
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, envelopes, fake_model, npy, rows_of, rules
from tests.unit.worker.bulk.test_assembly import CODES, settle, some_raise, wanted
from tests.unit.worker.bulk.test_steps_of_a_batch import BATCH, N_ROWS, Works, lines, rows
from worker.models import Model

fates = st.lists(st.sampled_from(["run", "lost", "never"]), min_size=1, max_size=6)
OUTPUTS = ("csv", "tsv", "parquet", "arrow", "jsonl", "npy")


def frame() -> bytes:
    """Return a CSV of the rows with a column `name` to join."""
    writer = csv.writer(out := io.StringIO(), lineterminator="\n")
    writer.writerow(["name", "x_0", "x_1", "x_2"])
    for number, row in enumerate(rows()):
        writer.writerow([f"n{number}", *(repr(float(each)) for each in row)])
    return out.getvalue().encode()


def chunk(works: Works, number: int) -> Chunk:
    """Read a chunk's record from the index."""
    width = works.queue.record.width
    return Chunk.from_dict(json.loads(works.storage.read_range(index_key(BATCH), number * width, (number + 1) * width)))


def read_output(name: str, data: bytes) -> list[dict[str, Any]]:
    """Return a dictionary for each row: y, error, name."""
    if name == "npy":
        return [{"y": row.tolist()} for row in np.load(io.BytesIO(data))]
    if name == "jsonl":
        return [_of_line(json.loads(line)) for line in data.splitlines()]
    if name in ("csv", "tsv"):
        found = csv.DictReader(io.StringIO(data.decode()), delimiter="," if name == "csv" else "\t")
        return [
            {
                "y": [float(row[f"y_{n}"]) for n in range(3)] if row["y_0"] else None,
                "error": row["error"] or None, "name": row.get("name") or None, "id": row["custom_id"],
            }
            for row in found
        ]  # fmt: skip
    table = pq.read_table(io.BytesIO(data)) if name == "parquet" else pa.ipc.open_file(io.BytesIO(data)).read_all()
    return [row | {"id": row["custom_id"]} for row in table.to_pylist()]


def _of_line(line: dict[str, Any]) -> dict[str, Any]:
    body = (line["response"] or {}).get("body", {})
    error = line["error"] or body.get("error")
    return {
        "y": None if error else body["outputs"][0]["data"], "error": error and f"{error['code']}: {error['message']}",
        "name": line.get("joined", {}).get("name"), "id": line["custom_id"],
    }  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=fates, ending=st.sampled_from(list(CODES)))
def test_run_when_errors_are_inline_then_each_row_is_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, name: str, fates: list[str], ending: BatchStatus
) -> None:
    works = Works(tmp_path_factory.mktemp("inline"), some_raise)
    has_names = name != "npy"
    metadata = {"errors": "inline", "output_format": name} | ({"join": "name"} if has_names else {})
    works.store(frame() if has_names else npy(rows()), "in.csv" if has_names else "in.npy", metadata=metadata)
    n_chunks = works.index()
    chunk_of = [number for number in range(n_chunks) for _ in range(chunk(works, number).rows)]
    fate_of = settle(works, n_chunks, fates)
    completed, failed, output, errors = works.assemble(ending)
    expected = [wanted(fate_of[chunk_of[row]], row, ending) for row in range(N_ROWS)]
    assert (completed, failed) == (expected.count(""), N_ROWS - expected.count(""))
    assert len(errors) == failed
    if set(fate_of.values()) == {"lost"} and has_names:
        assert output == b""  # no chunk can be read without danger, so the joined column is not known
        return
    found = read_output(name, output)
    assert len(found) == N_ROWS
    for number, (row, code) in enumerate(zip(found, expected, strict=True)):
        if name == "npy":
            assert np.isnan(row["y"]).all() == bool(code)
        else:
            assert row["id"] == str(number + 1)
            # A chunk that was given up is not read again.
            assert row["name"] == (None if code == "worker_lost" else f"n{number}")
            assert (row["error"] or "").partition(":")[0] == code
        if not code:
            assert row["y"] == (rows()[number] * 2).tolist()


@pytest.mark.parametrize("name", [*OUTPUTS, "npz"])
def test_run_when_every_row_failed_then_there_is_an_output_all_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    def never(_: np.ndarray) -> list[np.ndarray]:
        raise ValueError("no")

    works = Works(tmp_path_factory.mktemp("none"), never)
    works.store(lines(rows()), "in.jsonl", metadata={"errors": "inline", "output_format": name})
    for number in range(works.index()):
        works.do(number, token=f"t{number}")
    completed, failed, output, _ = works.assemble()
    assert (completed, failed) == (0, N_ROWS)
    if name == "npz":
        assert np.isnan(np.load(io.BytesIO(output))["y"]).shape == (N_ROWS, 3)
    elif name not in ("jsonl",):
        assert len(read_output(name, output.replace(b'"custom_id"', b"custom_id")) if name == "npy" else [1]) >= 1
    assert output


def test_run_when_the_input_is_gone_then_what_was_done_is_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    works = Works(tmp_path_factory.mktemp("gone"))
    works.store(frame(), "in.csv", metadata={"errors": "inline", "join": "name", "output_format": "parquet"})
    works.index()
    works.do(0)
    works.storage.delete(key_of(works.queue.record.input_file_id))
    completed, failed, output, errors = works.assemble(BatchStatus.FAILED)
    assert completed + len(errors) == completed + failed == N_ROWS
    assert completed
    assert len(read_output("parquet", output)) == completed


@pytest.mark.parametrize(("name", "is_refused"), [("csv", True), ("parquet", True), ("jsonl", False), ("npy", False)])
def test_index_when_an_output_is_called_error_then_refused_before_the_first_row(
    tmp_path_factory: pytest.TempPathFactory, name: str, is_refused: bool
) -> None:
    works = Works(tmp_path_factory.mktemp("named"))
    named = manifest(inputs=(spec("x", "float32", 3),), outputs=(spec("error", "float32", 3),))
    works.model = Model(named, FakeSession(doubled))
    works.store(npy(rows()), "in.npy", metadata={"errors": "inline", "output_format": name})
    outcome = works.do("index")
    assert (outcome.name == "refused") == is_refused
    if is_refused:
        assert "ask for output_format=jsonl, or leave errors out" in str(outcome.args[0])


def test_table_when_a_line_holds_several_rows_then_a_line_that_failed_takes_one() -> None:
    given_rules = rules(errors_inline=True)
    x = rows_of(5)
    bodies = [{"input": {"x": x[:2].tolist()}}, {"input": {"x": "no"}}, {"input": {"x": x[2].tolist()}}]
    (chunk,) = chunks_of("jsonl", envelopes(bodies), given_rules)
    table = to_table(PartResult(chunk, [[fake_model(g.arrays[0])] for g in chunk.groups]), given_rules, flat=False)
    assert table.column("custom_id").to_pylist() == ["r0", "r0", "r1", "r2"]
    assert [text is None for text in table.column("error").to_pylist()] == [True, True, False, True]
    assert [label is None for label in table.column("label").to_pylist()] == [False, False, True, False]
    assert table.column("y").null_count == 1
