"""Every format in and every format out: the same rows give the same predictions, in the same order."""

import csv
import io

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from ferry.bulk.formats.base import Chunk, PartResult, RowFault
from ferry.bulk.formats.error_lines import write_errors
from ferry.bulk.formats.registry import OUTPUT_FORMATS, default_output, format_named
from tests.unit.ferry.bulk.formats.cases import (
    chunks_of,
    envelopes,
    fake_model,
    jsonl,
    npy,
    rows_of,
    rules,
    run,
)

X = rows_of(11)


def csv_of(x: np.ndarray, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    rows = x.reshape(len(x), -1).astype(float).tolist()
    csv.writer(text, delimiter=delimiter).writerows([[f"x_{i}" for i in range(6)], *rows])
    return text.getvalue().encode()


def saved(write) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


TABLE = pa.table({"x": pa.array(X.reshape(11, 6).tolist(), pa.list_(pa.float32()))})
INPUTS = {
    "jsonl": envelopes([{"input": {"x": row}} for row in X]),
    "csv": csv_of(X),
    "tsv": csv_of(X, "\t"),
    "parquet": saved(lambda out: pq.write_table(TABLE, out)),
    "arrow": saved(lambda out: feather.write_feather(TABLE, out)),
    "npy": npy(X),
    "npz": saved(lambda out: np.savez(out, x=X)),
}


def outputs_of(name: str, data: bytes) -> np.ndarray:
    """Return the outputs (N, 3) that a file of any format holds."""
    if name == "jsonl":
        return np.array([orjson.loads(line)["response"]["body"]["output"]["y"] for line in data.splitlines()])
    if name in ("csv", "tsv"):
        rows = csv.DictReader(io.StringIO(data.decode()), delimiter="," if name == "csv" else "\t")
        return np.array([[float(row[f"y_{k}"]) for k in range(3)] for row in rows])
    if name in ("parquet", "arrow"):
        source = io.BytesIO(data)
        table = pq.read_table(source) if name == "parquet" else pa.ipc.open_file(source).read_all()
        return np.array(table.column("y").to_pylist())
    found = np.load(io.BytesIO(data), allow_pickle=False)
    return found if name == "npy" else found["y"]


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
@pytest.mark.parametrize("name", INPUTS)
def test_formats_when_any_goes_in_and_any_comes_out_then_the_same_predictions(name: str, output: str) -> None:
    out, errors = run(name, INPUTS[name], rules(), output)
    assert errors == []
    np.testing.assert_allclose(outputs_of(output, out), fake_model(X), rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_formats_when_a_whole_chunk_fails_then_the_others_are_there(output: str) -> None:
    failed = tuple(str(n) for n in range(5, 9))  # the second chunk of four
    out, errors = run("npy", INPUTS["npy"], rules(), output, fail=failed)
    found = outputs_of(output, out)
    assert [error["custom_id"] for error in errors] == list(failed)
    keep = [n for n in range(11) if str(n + 1) not in failed]
    np.testing.assert_allclose(found[~np.isnan(found).any(axis=1)], fake_model(X)[keep], rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_formats_when_no_row_of_any_chunk_can_be_read_then_a_whole_file_without_rows(output: str) -> None:
    out, errors = run("jsonl", jsonl([{"input": 1}] * 5), rules(), output)
    assert len(errors) == 5
    found = outputs_of(output, out) if output not in ("csv", "tsv", "jsonl") else np.empty((0, 3))
    assert np.isnan(found).all()


def test_write_errors_when_a_row_was_never_run_then_response_is_null() -> None:
    (rows,) = chunks_of("npy", npy(X[:2]), rules())
    never = PartResult(rows, [[fake_model(X[:2])]], (RowFault(1, "batch_cancelled", "The batch was cancelled."),))
    out = io.BytesIO()
    assert write_errors(out, never, rules(batch_id="b7")) == 1
    assert orjson.loads(out.getvalue()) == {
        "id": "batch_req_b7_2",
        "custom_id": "2",
        "row": 2,
        "response": None,
        "error": {"code": "batch_cancelled", "message": "The batch was cancelled."},
    }


def test_chunk_when_it_goes_through_json_then_the_same() -> None:
    chunk = Chunk(3, 4, {"start": 5})
    assert Chunk.from_dict(orjson.loads(orjson.dumps(chunk.to_dict()))) == chunk


@pytest.mark.parametrize(
    ("name", "dtypes", "expected"),
    [
        ("images", ["float32"], "jsonl"),
        ("npz", ["float32"], "npz"),
        ("npy", [], "npy"),
        ("npy", ["float32"], "npy"),
        ("npy", ["float32", "float32"], "npz"),
        ("npy", ["int64"], "npz"),
        ("npy", ["bool"], "npz"),
    ],
)
def test_default_output_when_the_input_cannot_hold_it_then_another(name: str, dtypes: list[str], expected: str) -> None:
    assert default_output(name, dtypes) == expected


def test_format_named_when_it_is_an_output_format_then_it_has_that_name() -> None:
    assert {format_named(name).name for name in OUTPUT_FORMATS} == set(OUTPUT_FORMATS)
