"""Files for models that run whole jobs, and for models whose rows lie along another axis than the first."""

import io

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferry.bulk.batch_records import Place
from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError
from ferry.manifest import ExecutionMode, Manifest, TensorSpec
from tests.fakes.sessions import FakeSession
from tests.manifests import manifest
from tests.unit.ferry.bulk.formats.cases import chunks_of, envelopes, jsonl, npy, rules
from worker.bulk.row_runner import RowRunner
from worker.models import Model

WHOLE = manifest(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 2)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 2)),),
    labels=("no", "yes"),
    mode=ExecutionMode.WHOLE_JOB,
)
STATE = manifest(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(2, None), batch_axis=1),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(2, None), batch_axis=1),),
)


class Silent:
    def pause(self, place: Place) -> None: ...
    def stand_at(self, place: Place) -> None: ...


def minus_mean(x: np.ndarray) -> list[np.ndarray]:
    return [x - x.mean()]


def ran(name: str, data: bytes, model: Manifest, output: str, compute=minus_mean, **more) -> tuple[bytes, FakeSession]:
    """Return what the worker writes for a file, and the session that ran it."""
    given, session = rules(model, **more), FakeSession(compute)
    writer, parts = format_named(output), []
    writer.check_output(given)
    for rows in chunks_of(name, data, given):
        result = RowRunner(Model(model, session), Silent(), Place()).run(rows)
        part = io.BytesIO()
        writer.write_part(part, result, given)
        parts.append(part.getvalue())
    out = io.BytesIO()
    writer.assemble([lambda raw=raw: io.BytesIO(raw) for raw in parts], out)
    return out.getvalue(), session


def bodies(out: bytes) -> list[dict]:
    return [orjson.loads(line)["response"]["body"] for line in out.splitlines()]


def test_jsonl_when_lines_are_whole_jobs_of_different_sizes_then_each_is_run_as_it_is() -> None:
    jobs = [[[0, 2]], [[1, 3], [5, 7]], [[4, 4]]]
    out, session = ran("jsonl", envelopes([{"input": {"x": job}} for job in jobs]), WHOLE, "jsonl")
    assert sorted(feed["x"].shape for feed in session.feeds) == [(1, 2), (1, 2), (2, 2)]
    expected = [minus_mean(np.float32(job))[0].tolist() for job in jobs]
    assert [body["output"]["y"] for body in bodies(out)] == expected
    assert [body["labels"] for body in bodies(out)] == [["yes"], ["yes", "yes"], ["no"]]


def test_jsonl_when_a_line_leaves_the_batch_axis_out_then_so_does_its_answer() -> None:
    out, session = ran("jsonl", jsonl([{"input": {"x": [0, 2]}}, {"input": {"x": [[0, 2]]}}]), WHOLE, "jsonl")
    assert [feed["x"].shape for feed in session.feeds] == [(1, 2), (1, 2)]
    assert [body["output"]["y"] for body in bodies(out)] == [[-1, 1], [[-1, 1]]]
    assert [body["labels"] for body in bodies(out)] == ["yes", ["yes"]]


def test_jsonl_when_infer_lines_are_whole_jobs_then_shapes_are_the_models() -> None:
    item = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 3, 5, 7]}
    lines = envelopes([{"inputs": [item], "id": "a"}], url="/v2/models/toy/infer")
    out, _ = ran("jsonl", lines, WHOLE, "jsonl", endpoint="infer")
    (body,) = bodies(out)
    assert body["id"] == "a"
    assert body["outputs"] == [{"name": "y", "shape": [2, 2], "datatype": "FP32", "data": [-3, -1, 1, 3]}]


@pytest.mark.parametrize("output", ["csv", "npy", "parquet"])
def test_table_when_its_rows_are_whole_jobs_then_each_runs_alone_and_answers_in_its_row(output: str) -> None:
    data = npy(np.float32([[0, 2], [10, 20], [5, 5]]))
    out, session = ran("npy", data, WHOLE, output)
    assert [feed["x"].shape for feed in session.feeds] == [(1, 2)] * 3
    if output == "npy":
        assert np.load(io.BytesIO(out)).tolist() == [[-1, 1], [-5, 5], [0, 0]]
    if output == "csv":
        assert out.decode().splitlines()[1:] == ['"1","yes",1,-1,1', '"2","yes",5,-5,5', '"3","no",0,0,0']


def test_table_when_answers_differ_in_shape_then_an_error_names_the_output_and_jsonl() -> None:
    ragged = manifest(
        inputs=WHOLE.inputs,
        outputs=(TensorSpec(name="y", dtype="float32", shape=(None,), batch_axis=None),),
        mode=ExecutionMode.WHOLE_JOB,
    )
    data = npy(np.float32([[1, 0], [2, 0]]))
    with pytest.raises(InvalidInputError, match="jsonl"):
        ran("npy", data, ragged, "npy", lambda x: [np.zeros(int(x[0, 0]), np.float32)])
    out, _ = ran("npy", data, ragged, "jsonl", lambda x: [np.zeros(int(x[0, 0]), np.float32)])
    assert [body["output"]["y"] for body in bodies(out)] == [[0], [0, 0]]


def test_file_when_an_input_has_no_batch_axis_then_a_row_is_the_whole_tensor() -> None:
    scalar = manifest(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(3,), batch_axis=None),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(3,), batch_axis=None),),
        mode=ExecutionMode.WHOLE_JOB,
    )
    out, session = ran("npy", npy(np.float32([[1, 2, 3], [0, 0, 9]])), scalar, "npy")
    assert [feed["x"].shape for feed in session.feeds] == [(3,), (3,)]
    assert np.load(io.BytesIO(out)).tolist() == [[-1, 0, 1], [-3, -3, 6]]


def test_jsonl_when_rows_lie_along_the_second_axis_then_batched_and_answered_in_the_models_layout() -> None:
    lines = jsonl([{"input": {"x": [[1, 2, 3], [4, 5, 6]]}}, {"input": {"x": [7, 8]}}])
    out, session = ran("jsonl", lines, STATE, "jsonl", lambda x: [x * 2])
    assert [feed["x"].shape for feed in session.feeds] == [(2, 4)]
    assert [body["output"]["y"] for body in bodies(out)] == [[[2, 4, 6], [8, 10, 12]], [14, 16]]


def test_jsonl_when_a_row_is_wrong_then_its_fault_names_the_field_and_the_others_run() -> None:
    lines = jsonl([{"input": {"x": [[1, 2, 3]]}}, {"input": {"x": [0, 2]}}])
    (rows,) = chunks_of("jsonl", lines, rules(WHOLE))
    (fault,) = rows.faults
    assert (fault.position, fault.param) == (0, "#/input/x")
    assert [list(group.positions) for group in rows.groups] == [[1]]


@pytest.mark.parametrize("batch_axis", [None, 0])
@pytest.mark.parametrize(("dtype", "value"), [("string", "größer"), ("float32", 2.5)])
def test_jsonl_when_a_job_holds_one_element_then_run_as_an_array_and_answered_bare(
    dtype: str, value: object, batch_axis: int | None
) -> None:
    shape: tuple[int | None, ...] = () if batch_axis is None else (None,)
    one = TensorSpec(name="x", dtype=dtype, shape=shape, batch_axis=batch_axis)
    model = manifest(inputs=(one,), outputs=(one.model_copy(update={"name": "y"}),), mode=ExecutionMode.WHOLE_JOB)
    lines = jsonl([{"input": {"x": value}}] * 2)
    out, session = ran("jsonl", lines, model, "jsonl", lambda x: [x])
    assert {(type(feed["x"]), feed["x"].dtype, feed["x"].ndim) for feed in session.feeds} == {
        (np.ndarray, one.numpy_dtype, len(shape))
    }
    assert [body["output"]["y"] for body in bodies(out)] == [value, value]


# --- whole jobs in the rows of a table


def waves(batch_axis: int | None, *more: TensorSpec) -> Manifest:
    """A model that takes x and gives y of any length, and runs whole jobs."""
    x = TensorSpec(name="x", dtype="float32", shape=(None,), batch_axis=batch_axis)
    y = x.model_copy(update={"name": "y"})
    return manifest(inputs=(x, *more), outputs=(y,), mode=ExecutionMode.WHOLE_JOB)


def parquet_of(**columns: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


@pytest.mark.parametrize("batch_axis", [None, 0])
@pytest.mark.parametrize("output", ["parquet", "jsonl"])
def test_table_when_a_cell_is_a_whole_tensor_of_any_length_then_a_row_is_a_whole_job(
    batch_axis: int | None, output: str
) -> None:
    data = parquet_of(x=[[1.0, 2.0, 3.0], [4.0, 6.0], None, [7.0]])
    out, session = ran("parquet", data, waves(batch_axis), output)
    assert sorted(feed["x"].shape for feed in session.feeds) == [(1,), (2,), (3,)]
    expected = [[-1, 0, 1], [-1, 1], [0]]
    if output == "parquet":
        assert pq.read_table(io.BytesIO(out)).column("y").to_pylist() == expected
    else:
        assert [body["output"]["y"] for body in bodies(out)] == expected


def test_table_when_a_cell_is_one_row_then_it_runs_as_one_and_its_answer_has_no_batch_axis() -> None:
    out, session = ran("parquet", parquet_of(x=[1.0, 2.0]), waves(0), "parquet")
    assert [feed["x"].shape for feed in session.feeds] == [(1,), (1,)]
    assert pq.read_table(io.BytesIO(out)).column("y").to_pylist() == [0, 0]


def test_table_when_cells_hold_rows_of_a_whole_job_then_the_answers_nest_as_deep() -> None:
    data = parquet_of(x=[[[0.0, 2.0], [10.0, 20.0]], [[5.0, 5.0]]])
    out, session = ran("parquet", data, WHOLE, "parquet")
    assert sorted(feed["x"].shape for feed in session.feeds) == [(1, 2), (2, 2)]
    found = pq.read_table(io.BytesIO(out))
    assert found.column_names == ["custom_id", "y"]
    assert found.column("y").to_pylist() == [[[-8, -6], [2, 12]], [[0, 0]]]


def test_table_when_some_inputs_have_the_batch_axis_and_some_not_then_refused() -> None:
    model = waves(0, TensorSpec(name="z", dtype="float32", shape=(None,)))
    found = format_named("parquet").index(io.BytesIO(parquet_of(x=[[1.0]], z=[1.0])), rules(model))
    assert "only 'x' have the batch axis in each row" in found.faults[0].message


def test_table_when_only_the_output_has_a_batch_axis_then_each_answer_keeps_it() -> None:
    pairs = TensorSpec(name="y", dtype="float32", shape=(None, 2))
    model = waves(None).model_copy(update={"outputs": (pairs,)})
    data = parquet_of(x=[[1.0, 2.0], [3.0]])
    expected = [[[1, 1], [2, 2]], [[3, 3]]]
    out, _ = ran("parquet", data, model, "parquet", lambda x: [np.stack([x, x], 1)])
    assert pq.read_table(io.BytesIO(out)).column("y").to_pylist() == expected
    out, _ = ran("parquet", data, model, "jsonl", lambda x: [np.stack([x, x], 1)])
    assert [body["output"]["y"] for body in bodies(out)] == expected


@pytest.mark.parametrize("output", ["npy", "npz", "csv"])
def test_output_when_answers_to_whole_jobs_have_any_size_then_refused_before_the_first_row(output: str) -> None:
    pairs = TensorSpec(name="y", dtype="float32", shape=(None, 2))
    with pytest.raises(InvalidInputError, match="'y' has an axis of any size"):
        format_named(output).check_output(rules(waves(None).model_copy(update={"outputs": (pairs,)})))
