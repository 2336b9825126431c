import pytest

from tests.manifests import manifest
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

ROW = {"x": [1.0, 2.0, 3.0]}


async def submitted_to(api: Api, reference: str, **headers: str) -> tuple[int, str]:
    answer = await api.client.post("/v1/predictions", json={"version": reference, "input": ROW}, headers=headers)
    return answer.status_code, answer.json().get("version", "")


async def name(api: Api, **aliases: str) -> None:
    api.queue.named = {("toy", alias): version for alias, version in aliases.items()}
    await api.services.catalog.refresh()


async def test_alias_when_moved_then_submits_follow_and_a_plain_name_is_the_latest(api: Api) -> None:
    await api.add_model(manifest(version="2"))
    assert await submitted_to(api, "toy") == await submitted_to(api, "toy:latest") == (202, "2")
    await name(api, stable="1")
    assert await submitted_to(api, "toy:stable") == (202, "1")
    await name(api, stable="2", latest="1")
    assert await submitted_to(api, "toy:stable") == (202, "2")
    assert await submitted_to(api, "toy") == (202, "1")
    shown = (await api.client.get("/v1/models/toy")).json()
    assert shown["aliases"] == {"latest": "1", "stable": "2"}
    assert shown["latest_version"]["id"] == "1"


async def test_alias_when_unknown_then_404_with_what_there_is(api: Api) -> None:
    await name(api, stable="1")
    answer = await api.client.post("/v1/predictions", json={"version": "toy:beta", "input": ROW})
    assert answer.status_code == 404
    assert "it has 1, stable is 1" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v2/models/toy/versions/stable/infer", "/predict"])
async def test_alias_when_the_answer_is_waited_for_then_resolved_there_too(api: Api, path: str) -> None:
    await api.add_model(manifest(version="2"))
    await name(api, stable="1")
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    asked = body if "infer" in path else {**ROW, "model": "toy:stable"}
    assert (await api.answered(api.client.post(path, json=asked), version="1")).status_code == 200


async def test_alias_when_a_batch_names_it_then_the_batch_has_its_version(api: Api) -> None:
    await api.add_model(manifest(version="2"))
    await name(api, stable="1")
    form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", b"{}")}}
    file_id = (await api.client.post("/v1/files", **form)).json()["id"]
    for asked in (
        {"endpoint": "/v1/predictions", "model": "toy:stable"},
        {"endpoint": "/v2/models/toy/versions/stable/infer"},
    ):
        made = await api.client.post("/v1/batches", json={"input_file_id": file_id, **asked})
        assert made.status_code == 200, made.text
        assert api.batches.records[made.json()["id"]].version == "1"


async def test_key_when_an_alias_moved_meanwhile_then_a_repeat_is_the_same_job(api: Api) -> None:
    await api.add_model(manifest(version="2"))
    await name(api, stable="1")
    first = await api.client.post(
        "/v1/predictions", json={"version": "toy:stable", "input": ROW}, headers={"Idempotency-Key": "k"}
    )
    await name(api, stable="2")
    again = await api.client.post(
        "/v1/predictions", json={"version": "toy:stable", "input": ROW}, headers={"Idempotency-Key": "k"}
    )
    assert (again.status_code, again.json()["id"], again.json()["version"]) == (202, first.json()["id"], "1")
    pinned = await api.client.post(
        "/v1/predictions", json={"version": "toy:2", "input": ROW}, headers={"Idempotency-Key": "k"}
    )
    assert pinned.status_code == 422


async def test_index_when_asked_then_every_version_with_its_state(api: Api) -> None:
    await api.add_model(manifest(version="2"), is_served=False)
    listed = (await api.client.post("/v2/repository/index")).json()
    assert listed == [
        {"name": "toy", "version": "1", "state": "READY", "reason": ""},
        {"name": "toy", "version": "2", "state": "UNAVAILABLE", "reason": "no live worker serves it"},
    ]
    ready = await api.client.post("/v2/repository/index", json={"ready": True})
    assert [each["version"] for each in ready.json()] == ["1"]


async def test_unload_when_a_version_or_all_are_named_then_those_and_load_undoes_it(api: Api) -> None:
    await api.add_model(manifest(version="2"))
    parameters = {"parameters": {"version": "2"}}
    assert (await api.client.post("/v2/repository/models/toy/unload", json=parameters)).status_code == 200
    assert api.queue.dropped == {("toy", "2")}
    states = {each["version"]: each["state"] for each in (await api.client.post("/v2/repository/index")).json()}
    assert states == {"1": "READY", "2": "UNLOADING"}
    await api.client.post("/v2/repository/models/toy/unload")
    assert api.queue.dropped == {("toy", "1"), ("toy", "2")}
    assert (await api.client.get("/v1/models/toy")).json()["versions"][0]["unloaded"]
    await api.client.post("/v2/repository/models/toy/load")
    assert api.queue.dropped == set()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/repository/models/nobody/unload", None, 404),
        ("/v2/repository/models/toy/unload", {"parameters": {"version": "9"}}, 404),
        ("/v2/repository/models/toy/unload", {"parameters": {"version": 1}}, 400),
        ("/v2/repository/models/toy/unload", {"parameters": {"version": None}}, 400),
        ("/v2/repository/models/toy/load", {"parameters": []}, 400),
        ("/v2/repository/index", {"ready": "yes"}, 400),
        ("/v2/repository/index", [], 400),
    ],
)
async def test_repository_when_a_request_is_wrong_then_a_problem(
    api: Api, path: str, body: object, status: int
) -> None:
    assert (await api.client.post(path, json=body)).status_code == status
    assert api.queue.dropped == set()


async def test_predict_when_the_model_is_unloaded_then_503_at_once_and_a_job_waits(api: Api) -> None:
    await api.client.post("/v2/repository/models/toy/unload")
    refused = await api.client.post("/predict", json={**ROW, "model": "toy"})
    assert (refused.status_code, refused.json()["code"]) == (503, "no_worker")
    assert await submitted_to(api, "toy") == (202, "1")


async def test_index_when_a_folder_is_broken_then_unavailable_with_the_reason(api: Api) -> None:
    (api.models / "empty" / "1").mkdir(parents=True)
    await api.services.catalog.refresh()
    shown = (await api.client.post("/v2/repository/index")).json()
    assert {"name": "empty", "version": "1", "state": "UNAVAILABLE", "reason": "manifest.json is missing"} in shown
    ready = (await api.client.post("/v2/repository/index", json={"ready": True})).json()
    assert [each["name"] for each in ready] == ["toy"]
