import asyncio
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.access import OF_ANY_KEY, scope_of
from api.downloads import MEDIA_TYPES
from ferry.access import Scope
from ferry.manifest import ExecutionMode, FixedInput, Manifest, TensorSpec
from tests.manifests import manifest, spec
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

ROW = [1.0, 2.0, 3.0]
FIXED = FixedInput(name="sr", dtype="int64", values=(16000,))
INFER = {"200", "400", "404", "413", "415", "422", "500", "503", "504"}
ANSWERS = {"application/json", "application/octet-stream", "text/event-stream", "text/plain", *MEDIA_TYPES.values()}
# What a key's lack answers, by the scope that is needed.
REFUSED = {scope: {"401", "403", "429"} if scope is Scope.SUBMIT else {"401", "403"} for scope in Scope}
# What any request may answer before a route is asked.
OF_CONNECTIONS = {"400", "408", "414", "431", "501"}
# By route: every other status it can answer.
STATUSES = {
    ("post", "/v1/predictions"): {"201", "202", "400", "404", "413", "415", "422", "503"},
    ("get", "/v1/predictions"): {"200", "422", "503"},
    ("post", "/v1/predictions/many"): {"202", "400", "404", "413", "415", "422", "503"},
    ("get", "/v1/predictions/{job_id}"): {"200", "404", "422", "503"},
    ("put", "/v1/predictions/{job_id}"): {"201", "202", "400", "404", "413", "415", "422", "503"},
    ("delete", "/v1/predictions/{job_id}"): {"204", "404", "422", "503"},
    ("get", "/v1/dead-letters"): {"200", "422", "503"},
    ("get", "/v1/dead-letters/{job_id}"): {"200", "404", "422", "503"},
    ("delete", "/v1/dead-letters/{job_id}"): {"204", "404", "422", "503"},
    ("post", "/v1/dead-letters/{job_id}/replay"): {"202", "404", "422", "503"},
    ("post", "/v1/predictions/{job_id}/cancel"): {"200", "404", "422", "503"},
    ("post", "/predict"): {"200", "400", "404", "413", "415", "422", "500", "503", "504"},
    ("post", "/v2/models/{name}/infer"): INFER,
    ("post", "/v2/models/{name}/versions/{version}/infer"): INFER,
    ("get", "/v2/models/{name}"): {"200", "404", "422"},
    ("get", "/v2/models/{name}/config"): {"200", "404", "422"},
    ("get", "/v2/models/{name}/versions/{version}"): {"200", "404", "422"},
    ("get", "/v2/models/{name}/versions/{version}/config"): {"200", "404", "422"},
    ("post", "/v1/files"): {"200", "400", "413", "415", "422", "503"},
    ("get", "/v1/files"): {"200", "400", "404", "422", "503"},
    ("get", "/v1/files/{file_id}"): {"200", "400", "404", "422", "503"},
    ("delete", "/v1/files/{file_id}"): {"200", "400", "404", "422", "503"},
    ("get", "/v1/files/{file_id}/content"): {"200", "206", "400", "404", "416", "422", "503"},
    ("post", "/v1/batches"): {"200", "400", "404", "409", "413", "415", "422", "503"},
    ("get", "/v1/batches"): {"200", "400", "404", "422", "503"},
    ("get", "/v1/batches/{batch_id}"): {"200", "400", "404", "422", "503"},
    ("get", "/v1/batches/{batch_id}/output"): {"200", "400", "404", "409", "422", "503", "504"},
    ("post", "/v1/batches/{batch_id}/cancel"): {"200", "400", "404", "409", "422", "503"},
    ("get", "/v1/models"): {"200"},
    ("get", "/v1/models/{name}"): {"200", "404", "422"},
    ("get", "/v1/models/{name}/examples"): {"200", "404", "422"},
    ("get", "/v1/stats"): {"200", "404", "503"},
    ("get", "/v1/stats/events"): {"200", "404"},
    ("get", "/v1/key"): {"200"},
    ("delete", "/v1/owners/{owner}"): {"200", "404", "409", "422", "503"},
    ("get", "/metrics"): {"200", "404", "503"},
    ("post", "/v2/repository/index"): {"200", "400", "413", "422"},
    ("post", "/v2/repository/models/{name}/load"): {"200", "400", "404", "413", "422", "503"},
    ("post", "/v2/repository/models/{name}/unload"): {"200", "400", "404", "413", "422", "503"},
    ("get", "/v2/health/live"): {"200"},
    ("get", "/v2/health/ready"): {"200", "503"},
    ("get", "/v2/models/{name}/ready"): {"200", "404", "422", "503"},
    ("get", "/v2/models/{name}/versions/{version}/ready"): {"200", "404", "422", "503"},
}


@pytest.fixture
async def schema(api: Api) -> dict[str, Any]:
    return (await api.client.get("/openapi.json")).json()


def properties(schema: dict[str, Any], method: str, path: str, status: int) -> set[str]:
    (content,) = schema["paths"][path][method]["responses"][str(status)]["content"].values()
    return set(content["schema"]["properties"])


async def test_schema_when_served_then_every_route_and_every_status_it_answers(schema: dict[str, Any]) -> None:
    documented = {
        (method, path): set(operation["responses"])
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }
    assert documented == {
        (method, path): statuses
        | OF_CONNECTIONS
        | (REFUSED.get(scope_of(method.upper(), path), set()) - ({"403"} if path in OF_ANY_KEY else set()))
        for (method, path), statuses in STATUSES.items()
    }


async def test_schema_when_served_then_says_which_operations_take_a_key(schema: dict[str, Any]) -> None:
    scheme = schema["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert "security" not in schema["paths"]["/v2/health/ready"]["get"]
    assert schema["paths"]["/predict"]["post"]["security"] == [{}, {"key": []}]


async def test_schema_when_served_then_errors_are_problems_and_nothing_of_fastapis_own_is_left(
    schema: dict[str, Any],
) -> None:
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                kinds = {"application/problem+json"} if int(status) >= 400 else ANSWERS
                assert set(answer.get("content", ())) <= kinds
    assert "HTTPValidationError" not in str(schema)


async def test_prediction_when_compared_with_its_schema_then_the_same_fields(api: Api, schema: dict[str, Any]) -> None:
    url = "/v1/predictions"
    accepted = await api.client.post(url, json={"version": "toy", "input": {"x": ROW}})
    assert set(accepted.json()) == properties(schema, "post", url, 202)
    api.serve()
    done = (await api.client.get(accepted.headers["location"])).json()
    documented = properties(schema, "get", f"{url}/{{job_id}}", 200)
    assert set(done) == documented == properties(schema, "post", url, 201)
    assert {"location", "retry-after"} <= set(accepted.headers)


async def test_model_when_compared_with_its_schema_then_the_same_fields(api: Api, schema: dict[str, Any]) -> None:
    body = (await api.client.get("/v1/models/toy")).json()
    assert set(body) == properties(schema, "get", "/v1/models/{name}", 200)


@pytest.mark.parametrize("path", ["/v1/models/toy", "/v2/models/toy", "/v2/models/toy/config"])
@pytest.mark.parametrize("mode", ExecutionMode)
async def test_model_when_checked_by_its_schema_then_valid(
    api: Api, schema: dict[str, Any], path: str, mode: ExecutionMode
) -> None:
    outputs = (spec("y", "float32", None), TensorSpec(name="s", dtype="string", batch_axis=None, has_any_rank=True))
    taken = manifest(version="2", mode=mode, outputs=outputs[: 1 if mode is ExecutionMode.BATCHED else 2])
    await api.add_model(Manifest(**taken.model_dump() | {"fixed_inputs": [FIXED]}))
    body = (await api.client.get(path)).json()
    (documented,) = schema["paths"][path.replace("toy", "{name}")]["get"]["responses"]["200"]["content"].values()
    assert not [error.message for error in Draft202012Validator(documented["schema"]).iter_errors(body)]


async def test_predict_when_compared_with_its_schema_then_the_same_fields(api: Api, schema: dict[str, Any]) -> None:
    await api.add_model(manifest("named", labels=("sum", "rest")))
    response = await api.answered(api.client.post("/predict", json={"x": ROW, "model": "named"}), name="named")
    assert set(response.json()) == properties(schema, "post", "/predict", 200)


async def test_problem_when_compared_with_its_schema_then_the_same_fields(api: Api, schema: dict[str, Any]) -> None:
    response = await api.client.post("/v1/predictions", json={})
    assert set(response.json()) == properties(schema, "post", "/v1/predictions", 422)


async def test_file_when_compared_with_its_schema_then_the_same_fields(api: Api, schema: dict[str, Any]) -> None:
    response = await api.client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", b"{}")})
    assert set(response.json()) == properties(schema, "post", "/v1/files", 200)
    assert set((await api.client.get("/v1/files")).json()) == properties(schema, "get", "/v1/files", 200)


async def test_batch_when_compared_with_its_schema_then_the_same_fields(api: Api, schema: dict[str, Any]) -> None:
    file_id = await api.files.reserve()
    await api.files.create(file_id, size_bytes=2, filename="in.jsonl", purpose="batch")
    body = {"input_file_id": file_id, "endpoint": "/v2/models/toy/infer"}
    made = (await api.client.post("/v1/batches", json=body)).json()
    assert set(made) == properties(schema, "post", "/v1/batches", 200)
    shown = schema["paths"]["/v1/batches/{batch_id}"]["get"]["responses"]["200"]["content"]["application/json"]
    for name in ("progress", "timings", "request_counts"):
        assert set(made[name]) == set(shown["schema"]["properties"][name]["properties"])
    assert set((await api.client.get("/v1/batches")).json()) == properties(schema, "get", "/v1/batches", 200)


@pytest.mark.parametrize("path", ["/v1/predictions", "/predict", "/v1/batches"])
async def test_body_when_its_example_is_read_then_it_has_all_that_is_required_and_nothing_else(
    schema: dict[str, Any], path: str
) -> None:
    content = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert set(content["schema"]["required"]) <= set(content["example"]) <= set(content["schema"]["properties"])


async def test_wait_when_it_is_as_long_as_documented_then_accepted(api: Api, schema: dict[str, Any]) -> None:
    (wait,) = (
        each["schema"]
        for each in schema["paths"]["/v1/predictions/{job_id}"]["get"]["parameters"]
        if each["name"] == "wait"
    )
    posted = await api.submitted(ROW)
    response = await api.client.get(posted["urls"]["get"], params={"wait": wait["maximum"]})
    assert response.status_code == 200
    assert asyncio.get_running_loop().time() == pytest.approx(wait["maximum"])
