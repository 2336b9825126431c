import asyncio

import numpy as np
import pytest

from ferry.manifest import Manifest, Preprocess
from ferry.profile import Profile, Tuning
from tests.manifests import manifest, profile, spec
from tests.unit.api.conftest import Api, assert_problem, put_model

pytestmark = pytest.mark.anyio
PLAIN = {"batch_axis": 0, "preprocess": None}


async def test_list_models_when_there_are_versions_then_one_entry_a_model_in_both_habits(api: Api) -> None:
    for version in ("2", "10"):
        await api.add_model(manifest(version=version))
    await api.add_model(manifest("another"))
    body = (await api.client.get("/v1/models")).json()
    assert (body["object"], body["next"], body["previous"]) == ("list", None, None)
    assert body["data"] == body["results"]
    assert [model["id"] for model in body["data"]] == ["another", "toy"]
    toy = body["data"][1]
    assert (toy["object"], toy["owner"], toy["owned_by"], toy["name"]) == ("model", "local", "local", "toy")
    assert [version["id"] for version in toy["versions"]] == ["1", "2", "10"]
    assert toy["latest_version"] == toy["versions"][-1]


async def test_show_model_when_known_then_its_whole_signature(api: Api) -> None:
    added = Manifest(
        **manifest(
            "full",
            inputs=(spec("x", "float32", 28, None, range=(0, 1)),),
            outputs=(spec("scores", "float32", 2),),
            labels=("no", "yes"),
            max_rows=32,
        ).model_dump()
        | {
            "created_at": "2026-08-21T12:00:00Z",
            "description": "what it does",
            "metrics": {"accuracy": 0.98},
            "notes": ("one",),
        }
    )
    await api.add_model(added)
    body = (await api.client.get("/v1/models/full")).json()
    assert (body["created"], body["description"]) == (1787313600, "what it does")
    assert body["latest_version"] == {
        "id": "1",
        "created_at": "2026-08-21T12:00:00Z",
        "inputs": [
            {"name": "x", "dtype": "float32", "datatype": "FP32", "shape": [-1, 28, -1], "range": [0.0, 1.0]}
            | PLAIN
            | {"missing": "error"}
        ],
        "outputs": [
            {"name": "scores", "dtype": "float32", "datatype": "FP32", "shape": [-1, 2], "range": None} | PLAIN
        ],
        "fixed_inputs": [],
        "labels": ["no", "yes"],
        "labels_of": "scores",
        "execution": {"mode": "batched", "reason": "a test says so", "evidence": "declared", "max_move": 0.0},
        "has_rows": True,
        "batching": {"max_rows": 32, "max_wait_ms": None, "max_job_rows": 100, "fixed_rows": None},
        "max_rows": 32,
        "max_wait_ms": 0.0,
        "tuned": {"max_rows": None, "max_wait_ms": None},
        "profile": None,
        "sha256": "0" * 64,
        "digest": added.digest,
        "metrics": {"accuracy": 0.98},
        "notes": ["one"],
        "state": "ready",
        "broken": None,
        "live_workers": 1,
        "other_workers": 0,
        "waiting_rows": 0,
        "paused": False,
        "draining": False,
        "unloaded": False,
    }


async def test_show_model_when_measured_then_its_profile_and_the_numbers_in_force(api: Api) -> None:
    measured = profile(max_rows=256, max_wait_ms=1.5)
    api.queue.announce(manifest("fast", max_rows=None), measured)
    api.queue.tune("fast", "1", Tuning(max_wait_ms=3.0))
    await api.add_model(manifest("fast", max_rows=None))
    version = (await api.client.get("/v1/models/fast")).json()["latest_version"]
    assert (version["max_rows"], version["max_wait_ms"]) == (256, 3.0)
    assert version["batching"]["max_rows"] is None
    assert version["tuned"] == {"max_rows": None, "max_wait_ms": 3.0}
    assert Profile.model_validate(version["profile"]) == measured


async def test_show_model_when_it_is_unknown_then_404_with_what_there_is(api: Api) -> None:
    response = await api.client.get("/v1/models/toi")
    assert assert_problem(response, 404, "not_found") == "no model 'toi'; did you mean toy?"


async def test_show_model_when_workers_and_rows_change_then_seen_within_a_second(api: Api) -> None:
    await api.submitted([[1, 2, 3]] * 5)
    api.queue.leave([("toy", "1")])
    await asyncio.sleep(1.1)
    version = (await api.client.get("/v1/models/toy")).json()["latest_version"]
    assert (version["live_workers"], version["waiting_rows"]) == (0, 5)


async def test_list_models_when_the_queue_is_down_then_the_folder_with_no_live_worker(api: Api) -> None:
    api.queue.is_down = True
    await asyncio.sleep(1.1)
    (model,) = (await api.client.get("/v1/models")).json()["data"]
    assert (model["id"], model["latest_version"]["live_workers"]) == ("toy", 0)


async def test_list_models_when_one_is_put_into_the_folder_then_seen_within_a_second(api: Api) -> None:
    await asyncio.sleep(0.1)
    assert (await api.client.get("/v1/models")).json()["data"][0]["id"] == "toy"
    put_model(api.models, manifest("fresh"))
    await asyncio.sleep(1.1)
    assert [model["id"] for model in (await api.client.get("/v1/models")).json()["data"]] == ["fresh", "toy"]


async def test_show_model_when_it_takes_images_then_how_they_become_rows(api: Api) -> None:
    how = Preprocess(mode="L", size=(4, 4), layout="HW", scale=1 / 255)
    await api.add_model(manifest("photo", inputs=(spec("x", "float32", 4, 4, preprocess=how),)))
    shown = (await api.client.get("/v1/models/photo")).json()["versions"][0]["inputs"][0]["preprocess"]
    assert (shown["mode"], shown["size"], shown["layout"], shown["invert"]) == ("L", [4, 4], "HW", False)


async def test_examples_when_there_are_none_then_rows_that_the_model_takes(api: Api) -> None:
    body = (await api.client.get("/v1/models/toy/examples?count=3")).json()
    assert (body["object"], body["model"], body["version"], body["made_up"]) == ("list", "toy", "1", True)
    assert len(body["data"]) == 3
    for each in body["data"]:
        assert each["truth"] is None
        sent = await api.client.post("/v1/predictions", json={"version": "toy", "input": each["input"]})
        assert sent.status_code == 202


async def test_examples_when_samples_lie_beside_then_those_and_by_alias_or_version(api: Api) -> None:
    folder = put_model(api.models, manifest(version="2"))
    (folder / "samples").mkdir()
    np.savez(folder / "samples" / "rows.npz", x=np.array([[1.0, 2, 3], [4, 5, 6]]), y=np.array(["one", "four"]))
    await api.services.catalog.refresh()
    for query in ("", "?version=2", "?version=latest", "?count=100"):
        body = (await api.client.get(f"/v1/models/toy/examples{query}")).json()
        assert (body["version"], body["made_up"]) == ("2", False)
        assert body["data"][0] == {"input": {"x": [1.0, 2.0, 3.0]}, "truth": "one"}
    assert (await api.client.get("/v1/models/toy/examples?version=1")).json()["made_up"]


async def test_examples_when_only_workers_have_the_model_then_made_up(api: Api) -> None:
    api.queue.announce(manifest("remote"), profile(free_axis_size=3))
    await api.services.catalog.refresh()
    assert (await api.client.get("/v1/models/remote/examples")).json()["made_up"]


@pytest.mark.parametrize(
    ("path", "status"), [("none/examples", 404), ("toy/examples?version=9", 404), ("toy/examples?count=101", 422)]
)
async def test_examples_when_there_is_no_such_thing_then_said(api: Api, path: str, status: int) -> None:
    assert (await api.client.get(f"/v1/models/{path}")).status_code == status


async def test_list_models_when_some_are_broken_then_each_with_its_reason_and_the_others_as_ever(api: Api) -> None:
    await api.add_model(manifest("half"), is_served=False)
    (api.models / "empty" / "1").mkdir(parents=True)
    api.queue.report_broken({("half", "1"): "onnxruntime will not load it", ("empty", "1"): "manifest.json is missing"})
    await api.services.catalog.refresh()
    answer = (await api.client.get("/v1/models")).json()
    states = {
        each["id"]: (each["latest_version"]["state"], each["latest_version"]["broken"]) for each in answer["data"]
    }
    assert states == {"half": ("broken", "onnxruntime will not load it"), "toy": ("ready", None)}
    assert answer["broken"] == [
        {"name": "empty", "version": "1", "reason": "manifest.json is missing", "workers": 1},
        {"name": "half", "version": "1", "reason": "onnxruntime will not load it", "workers": 1},
    ]


async def test_list_models_when_the_queue_is_down_then_what_is_broken_in_the_folder_is_known(api: Api) -> None:
    (api.models / "empty" / "x").mkdir(parents=True)
    api.queue.is_down = True
    await api.services.catalog.refresh()
    (broken,) = (await api.client.get("/v1/models")).json()["broken"]
    assert broken == {
        "name": "empty", "version": "x", "reason": "folder 'x' is no version: a whole number from 1", "workers": 0,
    }  # fmt: skip


async def test_list_models_when_one_worker_of_two_cannot_load_a_model_then_ready_with_the_reason(api: Api) -> None:
    api.queue.report_broken({("toy", "1"): "out of memory"})
    await api.services.catalog.refresh()
    version = (await api.client.get("/v1/models/toy")).json()["latest_version"]
    assert (version["state"], version["broken"]) == ("ready", "out of memory")
