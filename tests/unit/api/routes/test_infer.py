"""`POST /v2/models/{name}/infer` over HTTP."""

import json
from typing import Any

import numpy as np
import orjson
import pytest

from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio

X = np.array([[1, 2, 3], [0, 0, 1]], dtype=np.float32)
Y = [6.0, 4.0, 1.0, 9.0]
PATH = "/v2/models/toy/infer"


def body(**more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": X.ravel().tolist()}], **more}


async def test_infer_when_json_then_json_with_the_id(api: Api) -> None:
    response = await api.answered(api.client.post(PATH, json=body(id="42")))
    assert response.status_code == 200
    assert response.json() == {
        "model_name": "toy",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "y", "shape": [2, 2], "datatype": "FP32", "data": Y}],
    }


async def test_infer_when_there_is_no_content_type_then_taken_as_json(api: Api) -> None:
    response = await api.answered(api.client.post(PATH, content=orjson.dumps(body())))
    assert response.status_code == 200


async def test_infer_when_binary_then_binary_after_its_header(api: Api) -> None:
    head = orjson.dumps(
        {
            "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}],
            "parameters": {"binary_data_output": True},
        }
    )
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    response = await api.answered(
        api.client.post("/v2/models/toy/versions/1/infer", content=head + X.tobytes(), headers=headers)
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["Inference-Header-Content-Length"])
    answer = orjson.loads(response.content[:length])
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(response.content[length:], np.float32).tolist() == Y


async def test_infer_when_the_body_is_raw_then_one_row(api: Api) -> None:
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    response = await api.answered(api.client.post(PATH, content=X[:1].tobytes(), headers=headers))
    length = int(response.headers["Inference-Header-Content-Length"])
    assert np.frombuffer(response.content[length:], np.float32).tolist() == Y[:2]


async def test_infer_when_a_field_is_wrong_then_400_and_the_error_is_text(api: Api) -> None:
    response = await api.client.post(PATH, json=body() | {"inputs": [{"name": "z"}]})
    assert_problem(response, 400, "invalid_input", "#/inputs/0/name")


async def test_infer_when_the_model_is_unknown_then_404(api: Api) -> None:
    assert_problem(await api.client.post("/v2/models/nope/infer", json=body()), 404, "not_found")
    assert_problem(await api.client.post("/v2/models/toy/versions/9/infer", json=body()), 404, "not_found")


@pytest.mark.parametrize("length", ["x", "-1", "99999", "1.5"])
async def test_infer_when_the_header_length_is_wrong_then_400(api: Api, length: str) -> None:
    response = await api.client.post(PATH, json=body(), headers={"Inference-Header-Content-Length": length})
    assert_problem(response, 400, "malformed_request")


async def test_infer_when_the_body_is_not_json_then_400(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(await api.client.post(PATH, content=b"{", headers=headers), 400, "malformed_request")


async def test_infer_when_the_type_is_not_read_here_then_415(api: Api) -> None:
    response = await api.client.post(PATH, content=b"x", headers={"Content-Type": "text/csv"})
    assert_problem(response, 415, "unsupported_media_type")


async def test_infer_when_nobody_serves_then_503(api: Api) -> None:
    api.queue.leave([("toy", "1")])
    await api.services.catalog.refresh()
    assert_problem(await api.client.post(PATH, json=body()), 503, "no_worker")


async def test_infer_when_the_job_fails_then_500(api: Api) -> None:
    response = await api.answered(api.client.post(PATH, json=body()), error_code="model_error")
    assert_problem(response, 500, "model_error")


async def test_infer_when_the_deadline_passes_then_504(api: Api) -> None:
    response = await api.answered(api.client.post(PATH, json=body()), error_code="deadline_exceeded")
    assert_problem(response, 504, "wait_timeout")


@pytest.mark.parametrize("wrong", [[1] * 40, [0.5] * 40, {"a": [1] * 40}, "x" * 100_000, [[]] * 40])
@pytest.mark.parametrize("member", ["name", "datatype", "shape", "parameters"])
async def test_infer_when_a_member_of_an_input_is_large_and_of_another_kind_then_a_short_400(
    api: Api, member: str, wrong: object
) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]} | {member: wrong}
    if (member, type(wrong)) == ("parameters", dict):
        return  # its members mean nothing
    response = await api.client.post(PATH, content=json.dumps({"inputs": [tensor]})[:20_000])
    assert response.status_code in (400, 413), response.text
    assert len(response.content) < 1500


async def test_infer_when_the_outputs_are_many_numbers_then_400(api: Api) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
    response = await api.client.post(PATH, json={"inputs": [tensor], "outputs": [1] * 40})
    assert_problem(response, 400, "invalid_input", "#/outputs")
