"""Jobs that are one run each, over HTTP: sent, counted as one row, answered in the model's own layout."""

from typing import Any

import numpy as np
import orjson
import pytest

from ferry.client_flows import _submission
from ferry.manifest import ExecutionMode, Manifest, TensorSpec
from ferry.profile import Tuning
from ferry.tensors import Array
from tests.manifests import manifest, spec
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio
WHOLE = ExecutionMode.WHOLE_JOB
URL = "/v1/predictions"
RAW = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}


def tensor(name: str, shape: tuple[int | None, ...], **more: Any) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, **{"dtype": "float32", "batch_axis": None} | more)


# Boxes above a threshold, and how many those are: no tensor has rows.
BOXES = manifest(
    "boxes",
    inputs=(tensor("boxes", (None, 4)), tensor("threshold", ())),
    outputs=(tensor("kept", (None, 4)), tensor("n", (), dtype="int64")),
    mode=WHOLE,
    max_job_rows=2,
)
# A recurrent step: rows lie along axis 1 of the state.
STEP = {
    "inputs": (spec("x", "float32", 4), tensor("h", (2, None, 4), batch_axis=1)),
    "outputs": (spec("y", "float32", 4), tensor("hn", (2, None, 4), batch_axis=1)),
}
STATE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def kept(arrays: list[Array]) -> list[Array]:
    boxes, threshold = arrays
    above = boxes[boxes[:, 3] > threshold]
    return [above, np.array(len(above), np.int64)]


def stepped(arrays: list[Array]) -> list[Array]:
    """Of a whole job: y = x, the state grows by 1, both in the model's own layout."""
    x, h = arrays
    return [x, h + 1]


async def done(api: Api, body: Any, compute: Any, name: str) -> dict[str, Any]:
    headers = {"Prefer": "wait", "Content-Type": "application/json"}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    response = await api.answered(api.client.post(URL, content=content, headers=headers), compute, name=name)
    assert response.status_code == 201, response.text
    return response.json()


async def infer(api: Api, name: str, compute: Any, *tensors: tuple[str, Array]) -> dict[str, tuple[list[int], Any]]:
    datatypes = {"f": "FP32", "i": "INT64"}
    inputs = [
        {"name": each, "shape": list(array.shape), "datatype": datatypes[array.dtype.kind], "data": array.tolist()}
        for each, array in tensors
    ]
    path = f"/v2/models/{name}/infer"
    response = await api.answered(api.client.post(path, json={"inputs": inputs}), compute, name=name)
    assert response.status_code == 200, response.text
    return {each["name"]: (each["shape"], each["data"]) for each in response.json()["outputs"]}


# --- without rows


async def test_whole_job_when_it_has_no_rows_then_arrays_as_sent_and_one_row_counted(api: Api) -> None:
    await api.add_model(BOXES)
    boxes = [[0, 0, 1, 0.9], [0, 0, 1, 0.2], [0, 0, 2, 0.8]]
    answer = await done(api, {"version": "boxes", "input": {"boxes": boxes, "threshold": 0.5}}, kept, "boxes")
    assert answer["output"]["n"] == 2
    assert np.allclose(answer["output"]["kept"], [boxes[0], boxes[2]])
    assert answer["output_shapes"] == {"kept": [2, 4], "n": []}
    assert (answer["rows"], answer["labels"]) == (1, None)


async def test_whole_job_when_nothing_is_kept_then_the_shape_of_the_empty_output_travels_with_it(api: Api) -> None:
    await api.add_model(BOXES)
    answer = await done(api, {"version": "boxes", "input": {"boxes": [], "threshold": 0.5}}, kept, "boxes")
    assert answer["output"] == {"kept": [], "n": 0}
    assert answer["output_shapes"] == {"kept": [0, 4], "n": []}
    outputs = await infer(
        api, "boxes", kept, ("boxes", np.zeros((0, 4), np.float32)), ("threshold", np.zeros((), np.float32))
    )
    assert outputs == {"kept": ([0, 4], []), "n": ([], [0])}


async def test_whole_job_when_it_waits_then_its_input_is_shown_as_sent_and_it_counts_one_row(api: Api) -> None:
    await api.add_model(BOXES)
    body = await api.submitted(None, "boxes", boxes=[[1, 2, 3, 4]] * 5, threshold=0.5)
    assert body["input"] == {"boxes": [[1, 2, 3, 4]] * 5, "threshold": 0.5}
    await api.services.catalog.refresh()
    (shown,) = (await api.client.get("/v1/models/boxes")).json()["versions"]
    assert shown["waiting_rows"] == 1


async def test_whole_job_when_many_are_sent_with_ids_then_each_is_a_job_of_its_own(api: Api) -> None:
    await api.add_model(BOXES)
    inputs = [{"boxes": [[0, 0, 0, n]] * n, "threshold": 1.5} for n in range(4)]
    body = {"version": "boxes", "inputs": inputs, "ids": [f"job{n}" for n in range(4)]}
    response = await api.client.post(f"{URL}/many", json=body)
    assert [job["rows"] for job in response.json()["data"]] == [1] * 4
    api.serve(kept, name="boxes")
    found = (await api.client.get(URL, params={"id": body["ids"]})).json()["data"]
    assert [job["output"]["n"] for job in found] == [0, 0, 2, 3]


async def test_whole_job_when_an_input_does_not_fit_then_422_on_v1_and_400_on_v2(api: Api) -> None:
    await api.add_model(BOXES)
    body = {"version": "boxes", "input": {"boxes": [[1, 2]], "threshold": 0.5}}
    detail = assert_problem(await api.client.post(URL, json=body), 422, "invalid_input", "#/input/boxes")
    form = '{"boxes": [[0.0, 0.0, 0.0, 0.0]], "threshold": 0.0}'
    assert detail == f"axis 1 has 2 entries, expected 4 (any, 4); boxes:1 takes {form}"
    asked = {"name": "threshold", "shape": [1], "datatype": "FP32", "data": [0.5]}
    response = await api.client.post("/v2/models/boxes/infer", json={"inputs": [asked]})
    assert (response.status_code, response.json()["errors"]) == (
        400,
        [{"detail": "expected [] (-1 is any size), got [1]", "pointer": "#/inputs/0/shape"}],
    )


async def test_whole_job_when_a_body_is_raw_then_one_fixed_tensor(api: Api) -> None:
    taken = manifest("raw", inputs=(tensor("x", (2, 3)),), outputs=(tensor("y", (2, 3)),), mode=WHOLE)
    await api.add_model(taken)
    x = np.arange(6, dtype=np.float32)
    sending = api.client.post("/v2/models/raw/infer", content=x.tobytes(), headers=RAW)
    response = await api.answered(sending, lambda arrays: arrays, name="raw")
    length = int(response.headers["Inference-Header-Content-Length"])
    assert orjson.loads(response.content[:length])["outputs"][0]["shape"] == [2, 3]
    assert response.content[length:] == x.tobytes()


# --- limits


async def test_whole_job_when_the_bytes_that_wait_reach_their_limit_then_refused_with_few_rows_waiting(
    api: Api,
) -> None:
    await api.add_model(BOXES)
    body = {"version": "boxes", "input": {"boxes": [[0, 0, 0, 0]] * 1900, "threshold": 0}}
    n_bytes = 1900 * 4 * 4
    for _ in range(1_000_000 // n_bytes):
        assert (await api.client.post(URL, json=body)).status_code == 202
    detail = assert_problem(await api.client.post(URL, json=body), 503, "queue_full")
    assert detail.startswith("boxes:1 has 32 rows waiting; the limits are 1000 rows and 1000000 bytes")


async def test_whole_job_when_the_body_is_over_its_limit_then_413(api: Api) -> None:
    await api.add_model(BOXES)
    body = {"version": "boxes", "input": {"boxes": [[0, 0, 0, 0]] * 5000, "threshold": 0}}
    assert_problem(await api.client.post(URL, json=body), 413, "body_too_large")


async def test_limits_when_a_job_is_one_run_then_one_row_whatever_was_tuned(api: Api) -> None:
    await api.add_model(manifest("swap", max_rows=8))
    api.queue.tune("swap", "1", Tuning(max_rows=32, max_wait_ms=5.0))
    api.queue.lanes["swap", "1"].served_ms = 0
    api.queue.announce(manifest("swap", max_rows=8, mode=WHOLE))
    await api.add_model(manifest("swap", max_rows=8, mode=WHOLE))
    (shown,) = (await api.client.get("/v1/models/swap")).json()["versions"]
    assert (shown["max_rows"], shown["max_wait_ms"]) == (1, 0.0)
    assert shown["execution"]["mode"] == "whole_job"


# --- with rows


async def test_whole_job_when_one_row_leaves_its_batch_axes_out_then_so_does_the_answer(api: Api) -> None:
    await api.add_model(manifest("step", **STEP, mode=WHOLE))
    one = {"x": [1, 2, 3, 4], "h": STATE[:, 0].tolist()}
    answer = await done(api, {"version": "step", "input": one}, stepped, "step")
    assert answer["output"] == {"y": one["x"], "hn": (STATE[:, 0] + 1).tolist()}
    assert answer["output_shapes"] == {"y": [4], "hn": [2, 4]}


async def test_whole_job_when_it_has_many_rows_then_more_than_max_job_rows_and_one_row_counted(api: Api) -> None:
    await api.add_model(manifest("step", **STEP, mode=WHOLE, max_job_rows=2))
    many = {"x": [[1, 2, 3, 4]] * 3, "h": STATE.tolist()}
    answer = await done(api, {"version": "step", "input": many}, stepped, "step")
    assert answer["output"] == {"y": many["x"], "hn": (STATE + 1).tolist()}
    assert answer["rows"] == 1


def in_rows(arrays: list[Array]) -> list[Array]:
    """As `stepped`, of rows: every array has its rows first, as a batched job's payload has."""
    x, h = arrays
    assert h.shape == (len(x), 2, 4)
    return [x, h + 1]


async def test_batched_job_when_rows_lie_along_another_axis_then_sent_and_answered_in_the_models_layout(
    api: Api,
) -> None:
    await api.add_model(manifest("step", **STEP))
    many = {"x": [[1, 2, 3, 4]] * 3, "h": STATE.tolist()}
    answer = await done(api, {"version": "step", "input": many}, in_rows, "step")
    assert answer["output"] == {"y": many["x"], "hn": (STATE + 1).tolist()}
    assert (answer["rows"], answer["output_shapes"]) == (3, None)
    one = {"x": [1, 2, 3, 4], "h": STATE[:, 1].tolist()}
    answer = await done(api, {"version": "step", "input": one}, in_rows, "step")
    assert answer["output"] == {"y": one["x"], "hn": (STATE[:, 1] + 1).tolist()}
    outputs = await infer(api, "step", in_rows, ("x", np.ones((3, 4), np.float32)), ("h", STATE))
    assert outputs["hn"] == ([2, 3, 4], (STATE + 1).ravel().tolist())


async def test_batched_job_when_numbers_of_rows_differ_along_their_own_axes_then_refused(api: Api) -> None:
    await api.add_model(manifest("step", **STEP))
    body = {"version": "step", "input": {"x": [[1, 2, 3, 4]] * 2, "h": STATE.tolist()}}
    detail = assert_problem(await api.client.post(URL, json=body), 422, "invalid_input", "#/input")
    assert detail == "inputs have different numbers of rows (x: 2, h: 3)"


# --- labels, and /predict


def scorer(*shape: int | None, batch_axis: int | None = None, x: TensorSpec | None = None) -> Manifest:
    """Scores are the second output."""
    outputs = (tensor("loss", ()), tensor("scores", shape, batch_axis=batch_axis))
    made = manifest("scorer", inputs=(x or tensor("x", (3,)),), outputs=outputs, labels=("no", "yes"), mode=WHOLE)
    return Manifest(**made.model_dump() | {"labels_of": "scores"})


def second(scores: Any) -> Any:
    return lambda arrays: [np.zeros((), np.float32), np.array(scores, np.float32)]


async def test_labels_when_the_scores_are_another_output_then_of_that_one(api: Api) -> None:
    await api.add_model(scorer(2))
    answer = await done(api, {"version": "scorer", "input": {"x": [1, 2, 3]}}, second([0.1, 0.9]), "scorer")
    assert answer["labels"] == "yes"


@pytest.mark.parametrize(
    ("taken", "scores"),
    [
        (scorer(2), [0.1, 0.9]),
        (scorer(None, 2, batch_axis=0, x=spec("x", "float32", 3)), [[0.1, 0.9]]),
        (scorer(2, None, batch_axis=1, x=tensor("x", (3, None), batch_axis=1)), [[0.1], [0.9]]),
    ],
)
async def test_predict_when_a_job_is_one_run_then_the_class_of_its_scores(
    api: Api, taken: Manifest, scores: Any
) -> None:
    await api.add_model(taken)
    sending = api.client.post("/predict", json={"x": [1, 2, 3], "model": "scorer"})
    response = await api.answered(sending, second(scores), name="scorer")
    assert (response.status_code, response.json()) == (200, {"prediction": 1, "label": "yes"})


async def test_predict_when_the_scores_are_not_of_one_row_then_said(api: Api) -> None:
    await api.add_model(scorer(None, 2, batch_axis=0, x=spec("x", "float32", 3)))
    sending = api.client.post("/predict", json={"x": [1, 2, 3], "model": "scorer"})
    response = await api.answered(sending, second([[1, 2], [3, 4]]), name="scorer")
    assert "gave scores of shape [2, 2] for this row" in assert_problem(response, 500, "model_error")


async def test_predict_when_there_is_no_score_per_class_then_refused_before_anything_is_queued(api: Api) -> None:
    await api.add_model(scorer(None, None, 2))
    response = await api.client.post("/predict", json={"x": [1, 2, 3], "model": "scorer"})
    assert "does not give one score per class" in assert_problem(response, 422, "invalid_input", "#/model")


# --- what is shown of a model


async def test_show_model_when_a_job_is_one_run_then_why_and_where_rows_lie(api: Api) -> None:
    await api.add_model(BOXES)
    (shown,) = (await api.client.get("/v1/models/boxes")).json()["versions"]
    assert shown["execution"] == {
        "mode": "whole_job", "reason": "a test says so", "evidence": "declared", "max_move": 0.0,
    }  # fmt: skip
    assert (shown["has_rows"], shown["max_rows"], shown["max_wait_ms"]) == (False, 1, 0.0)
    assert [(each["shape"], each["batch_axis"]) for each in shown["inputs"]] == [([-1, 4], None), ([], None)]


@pytest.mark.parametrize("name", ["boxes", "step", "whole_step"])
async def test_examples_when_sent_as_they_are_shown_then_accepted(api: Api, name: str) -> None:
    models = {
        "boxes": BOXES, "step": manifest("step", **STEP), "whole_step": manifest("whole_step", **STEP, mode=WHOLE),
    }  # fmt: skip
    await api.add_model(models[name])
    made = (await api.client.get(f"/v1/models/{name}/examples", params={"count": 3})).json()
    assert len(made["data"]) == 3
    for example in made["data"]:
        body = await api.submitted(None, name, **example["input"])
        assert body["input"] == example["input"]


# --- what the Python client sends


@pytest.mark.parametrize("array", [np.float32(0.5), np.array(0.5), np.array(0.5, ">f8"), 0.5])
async def test_client_when_a_scalar_is_any_kind_of_number_then_taken(api: Api, array: Any) -> None:
    await api.add_model(BOXES)
    boxes = np.arange(8, dtype=np.float32).reshape(4, 2).T  # not contiguous
    call = _submission("boxes", {"boxes": boxes, "threshold": array})
    answer = await done(api, call.content, kept, "boxes")
    assert answer["output"]["n"] == 2


@pytest.mark.parametrize("dtype", ["string", "float32"])
async def test_whole_job_when_an_output_is_one_element_a_row_then_a_single_row_gets_it_bare(
    api: Api, dtype: str
) -> None:
    outputs = (spec("label", dtype), tensor("bare", (), dtype=dtype))
    await api.add_model(manifest("one", outputs=outputs, mode=WHOLE))
    value = {"string": "größer", "float32": 2.5}[dtype]
    made = [
        np.array([value], object if dtype == "string" else dtype),
        np.array(value, object if dtype == "string" else dtype),
    ]
    answer = await done(api, {"version": "one", "input": {"x": [1, 2, 3]}}, lambda _: made, "one")
    assert answer["output"] == {"label": value, "bare": value}
    assert answer["output_shapes"] == {"label": [], "bare": []}
    many = await done(api, {"version": "one", "input": {"x": [[1, 2, 3]]}}, lambda _: made, "one")
    assert many["output"] == {"label": [value], "bare": value}
