"""`/v2/models/{name}` and its config: shapes in the model's layout, and whether clients may add a batch axis."""

from typing import Any

import pytest

from ferry.manifest import ExecutionMode, TensorSpec
from tests.manifests import manifest, spec
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio
WHOLE = ExecutionMode.WHOLE_JOB
STATE = TensorSpec(name="h", dtype="float64", shape=(2, None, 128), batch_axis=1)
SCALAR = TensorSpec(name="sr", dtype="int64", batch_axis=None)
ANY = TensorSpec(name="any", dtype="string", batch_axis=None, has_any_rank=True)


async def read(api: Api, path: str) -> dict[str, Any]:
    response = await api.client.get(f"/v2/models/{path}")
    assert response.status_code == 200, response.text
    return response.json()


async def test_metadata_when_asked_then_shapes_in_the_models_layout_and_all_versions(api: Api) -> None:
    await api.add_model(manifest("toy", "2", inputs=(spec("x", "float32", 3), STATE)))
    assert await read(api, "toy") == {
        "name": "toy",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "h", "datatype": "FP64", "shape": [2, -1, 128]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert [each["name"] for each in (await read(api, "toy/versions/1"))["inputs"]] == ["x"]


async def test_metadata_when_a_tensor_has_no_axis_or_any_number_then_said_so(api: Api) -> None:
    await api.add_model(manifest("odd", inputs=(SCALAR,), outputs=(ANY,), mode=WHOLE))
    body = await read(api, "odd")
    assert (body["inputs"][0]["shape"], body["outputs"][0]["shape"]) == ([], [-1])


async def test_config_when_rows_are_the_first_axis_then_their_limit_and_dims_of_one_row(api: Api) -> None:
    await api.add_model(manifest("rows", outputs=(spec("label", "string"),), max_rows=32, max_wait_ms=2.5))
    assert await read(api, "rows/config") == {
        "name": "rows",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 32,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}],
        "output": [{"name": "label", "data_type": "TYPE_STRING", "dims": [1], "reshape": {"shape": []}}],
        "dynamic_batching": {"max_queue_delay_microseconds": 2500},
    }


async def test_config_when_a_job_is_one_run_then_no_batch_size_and_whole_dims(api: Api) -> None:
    await api.add_model(manifest("whole", inputs=(spec("x", "float32", 3), SCALAR, STATE), mode=WHOLE))
    body = await read(api, "whole/versions/1/config")
    assert body["max_batch_size"] == 0
    assert "dynamic_batching" not in body
    assert [each["dims"] for each in body["input"]] == [[-1, 3], [1], [2, -1, 128]]


async def test_config_when_rows_lie_along_another_axis_then_no_batch_size_and_whole_dims(api: Api) -> None:
    await api.add_model(manifest("step", inputs=(spec("x", "float32", 3), STATE)))
    body = await read(api, "step/config")
    assert (body["max_batch_size"], [each["dims"] for each in body["input"]]) == (0, [[-1, 3], [2, -1, 128]])


@pytest.mark.parametrize("path", ["ghost", "ghost/config", "toy/versions/7", "toy/versions/7/config"])
async def test_models_when_there_is_no_such_model_then_404(api: Api, path: str) -> None:
    assert_problem(await api.client.get(f"/v2/models/{path}"), 404, "not_found")


@pytest.mark.parametrize("path", ["half/ready", "half/versions/1/ready"])
async def test_ready_when_a_model_breaks_and_is_mended_then_503_with_the_reason_and_200(api: Api, path: str) -> None:
    await api.add_model(manifest("half"), is_served=False)
    assert_problem(await api.client.get(f"/v2/models/{path}"), 503, "no_worker")
    api.queue.report_broken({("half", "1"): "the manifest names output 'z'"})
    response = await api.client.get(f"/v2/models/{path}")
    assert "since it is broken: the manifest names output 'z'" in assert_problem(response, 503, "no_worker")
    assert (await api.client.get("/v2/models/toy/ready")).json() == {"name": "toy", "ready": True}
    api.queue.report_broken({})
    api.queue.beat({("half", "1"): ""})
    assert await read(api, path) == {"name": "half", "ready": True}


async def test_ready_when_there_is_no_readable_manifest_then_404_with_the_reason(api: Api) -> None:
    (api.models / "empty" / "3").mkdir(parents=True)
    for path in ("empty/ready", "empty/versions/3/ready", "empty/versions/3"):
        detail = assert_problem(await api.client.get(f"/v2/models/{path}"), 404, "not_found")
        assert detail == "model empty:3 is broken: manifest.json is missing"
