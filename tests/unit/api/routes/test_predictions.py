import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from api.wire import timestamp
from ferry.jobs import JobClass
from ferry.manifest import OIP_DATATYPES
from ferry.queue.keys import SMALL_INPUT_BYTES
from tests.manifests import manifest, spec
from tests.unit.api.conftest import RUN_US, Api, assert_problem, put_model

pytestmark = pytest.mark.anyio

URL = "/v1/predictions"
ROW = [1.0, 2.0, 3.0]
BODY = {"version": "toy", "input": {"x": ROW}}
JSON = {"Content-Type": "application/json"}
INTEGERS = [dtype for dtype in OIP_DATATYPES if "int" in dtype]


def now() -> float:
    """Return the loop's own seconds, which skip what is idle."""
    return asyncio.get_running_loop().time()


# --- submitting without waiting


async def test_post_when_nothing_is_preferred_then_202_with_where_and_when_to_poll(api: Api) -> None:
    response = await api.client.post(URL, json=BODY)
    body = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/predictions/{body['id']}"
    assert response.headers["retry-after"] == "1"
    assert response.headers["preference-applied"] == "respond-async"
    assert response.headers["content-type"] == "application/json"
    assert now() == 0


async def test_post_when_accepted_then_the_whole_shape_of_a_starting_prediction(api: Api) -> None:
    body = await api.submitted(ROW)
    url = f"http://ferry/v1/predictions/{body['id']}"
    assert body == {
        "id": body["id"],
        "model": "local/toy",
        "version": "1",
        "status": "starting",
        "state": "queued",
        "input": {"x": ROW},
        "output": None,
        "output_shapes": None,
        "labels": None,
        "error": None,
        "error_code": None,
        "replay_of": None,
        "logs": "",
        "rows": 1,
        "attempts": 0,
        "created_at": "2027-01-15T08:00:00.000000Z",
        "started_at": None,
        "completed_at": None,
        "deadline": "2027-01-15T08:10:00.000000Z",
        "metrics": {},
        "batch": None,
        "data_removed": False,
        "urls": {"get": url, "cancel": f"{url}/cancel"},
    }


async def test_post_when_accepted_then_a_poll_says_the_same_until_something_happens(api: Api) -> None:
    posted = await api.submitted([ROW, ROW])
    polled = await api.client.get(posted["urls"]["get"])
    assert polled.status_code == 200
    assert polled.json() == posted


@pytest.mark.parametrize("version", ["toy", "toy:1", "local/toy", "local/toy:1", "toy:"])
async def test_post_when_the_model_is_named_in_any_way_then_found(api: Api, version: str) -> None:
    assert (await api.submitted(ROW, version))["version"] == "1"


async def test_post_when_no_version_is_named_then_the_highest_serves(api: Api) -> None:
    await api.add_model(manifest(version="10"))
    await api.add_model(manifest(version="9"))
    assert (await api.submitted(ROW))["version"] == "10"
    assert (await api.submitted(ROW, "toy:9"))["version"] == "9"


async def test_post_when_no_worker_lives_then_accepted_all_the_same(api: Api) -> None:
    await api.add_model(manifest("idle"), is_served=False)
    assert (await api.submitted(ROW, "idle"))["status"] == "starting"


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "text/x+json"]
)
async def test_post_when_the_type_is_json_or_none_then_accepted(api: Api, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await api.client.post(URL, content=json.dumps(BODY), headers=headers)
    assert response.status_code == 202


async def test_post_when_the_body_begins_with_a_byte_order_mark_then_accepted(api: Api) -> None:
    response = await api.client.post(URL, content=b"\xef\xbb\xbf" + json.dumps(BODY).encode(), headers=JSON)
    assert response.status_code == 202


# --- submitting and waiting


async def test_post_when_done_within_the_wait_then_201_with_the_final_state(api: Api) -> None:
    response = await api.answered(api.client.post(URL, json=BODY, headers={"Prefer": "wait=5"}))
    body = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/predictions/{body['id']}"
    assert response.headers["preference-applied"] == "wait=5"
    assert "retry-after" not in response.headers
    assert (body["status"], body["state"], body["output"]) == ("succeeded", "succeeded", {"y": [6.0, 4.0]})
    assert body["metrics"]["predict_time"] == RUN_US / 1e6
    assert body["batch"] == {
        "id": "ticket.1", "rows": 1, "jobs": 1, "wait_ms": 0.0, "url": "http://127.0.0.1:5555/task/ticket",
    }  # fmt: skip
    assert (await api.client.get(body["urls"]["get"])).json() == body


async def test_post_when_the_job_fails_within_the_wait_then_201_and_failed(api: Api) -> None:
    sending = api.client.post(URL, json=BODY, headers={"Prefer": "wait"})
    response = await api.answered(sending, error_code="model_error")
    body = response.json()
    assert response.status_code == 201
    assert (body["status"], body["error"], body["error_code"]) == ("failed", "it broke", "model_error")
    assert body["output"] is None


@pytest.mark.parametrize(
    ("prefer", "waited_s", "applied"),
    [
        ("wait", 60, "wait=60"),
        ("wait=7", 7, "wait=7"),
        ("wait=0", 1, "wait=1"),
        ("wait=600", 60, "wait=60"),
        ("respond-async, wait=3", 3, "wait=3"),
        ("respond-async", 0, "respond-async"),
        ("handling=strict", 0, "respond-async"),
        ("wait=soon", 0, "respond-async"),
    ],
)
async def test_post_when_the_wait_runs_out_then_202_starting_and_what_was_applied(
    api: Api, prefer: str, waited_s: float, applied: str
) -> None:
    response = await api.client.post(URL, json=BODY, headers={"Prefer": prefer})
    assert now() == pytest.approx(waited_s)
    assert response.status_code == 202
    assert response.headers["preference-applied"] == applied
    assert response.headers["retry-after"] == "1"
    assert response.json()["status"] == "starting"


async def test_post_when_the_wait_runs_out_while_it_runs_then_still_starting(api: Api) -> None:
    sending = asyncio.ensure_future(api.client.post(URL, json=BODY, headers={"Prefer": "wait=2"}))
    await asyncio.sleep(1)
    assert len(api.claim().jobs) == 1
    response = await sending
    assert response.status_code == 202
    assert response.json()["status"] == "starting"
    polled = (await api.client.get(response.headers["location"])).json()
    assert (polled["status"], polled["state"], polled["attempts"]) == ("processing", "running", 1)


async def test_post_when_prefer_comes_in_two_lines_then_both_are_read(api: Api) -> None:
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=4")]
    response = await api.client.post(URL, json=BODY, headers=headers)
    assert response.headers["preference-applied"] == "wait=4"


async def test_post_when_the_wait_is_in_the_query_then_it_waits_but_applied_no_preference(api: Api) -> None:
    response = await api.client.post(URL, params={"wait": "2.5"}, json=BODY)
    assert now() == pytest.approx(2.5)
    assert response.status_code == 202
    assert "preference-applied" not in response.headers


async def test_post_when_both_waits_are_given_then_the_query_counts(api: Api) -> None:
    response = await api.client.post(URL, params={"wait": "2"}, json=BODY, headers={"Prefer": "wait=30"})
    assert now() == pytest.approx(2)
    assert response.headers["preference-applied"] == "wait=2"


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
async def test_post_when_the_wait_in_the_query_is_no_time_then_422(api: Api, wait: str) -> None:
    response = await api.client.post(URL, params={"wait": wait}, json=BODY)
    assert "expected seconds from 0 to 60" in assert_problem(response, 422, "invalid_input", "wait")
    assert api.queue.jobs == {}


async def test_post_when_the_result_is_large_then_it_is_read_and_answered_in_full(api: Api) -> None:
    await api.add_model(manifest("wide", outputs=(spec("y", "float64", None),)))
    sending = api.client.post(URL, json=BODY | {"version": "wide"}, headers={"Prefer": "wait"})
    response = await api.answered(sending, lambda arrays: [np.zeros((1, 1000))], name="wide")
    assert response.status_code == 201
    assert response.json()["output"] == {"y": [0.0] * 1000}


# --- polling


async def test_get_when_done_then_the_true_state_and_output(api: Api) -> None:
    url = (await api.submitted([ROW, [0, 0, 1]]))["urls"]["get"]
    api.serve()
    response = await api.client.get(url)
    body = response.json()
    assert response.status_code == 200
    assert (body["status"], body["output"], body["rows"]) == ("succeeded", {"y": [[6.0, 4.0], [1.0, 9.0]]}, 2)
    assert body["input"] is None


async def test_get_when_the_id_is_unknown_then_404_which_says_that_jobs_are_forgotten(api: Api) -> None:
    response = await api.client.get(f"{URL}/nosuchjob")
    detail = assert_problem(response, 404, "not_found")
    assert "nosuchjob" in detail
    assert "FERRY_RESULT_TTL_S" in detail


async def test_get_when_the_time_to_live_is_over_then_404(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.serve()
    api.queue.now_us += 60_000_000
    assert_problem(await api.client.get(url), 404, "not_found")


@pytest.mark.parametrize("wait", [{"params": {"wait": "3"}}, {"headers": {"Prefer": "wait=3"}}])
async def test_get_when_waiting_then_answered_as_soon_as_it_is_done(api: Api, wait: dict) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    response = await api.answered(api.client.get(url, **wait))
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")
    assert now() < 1


async def test_get_when_the_wait_runs_out_then_200_and_the_true_state(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.claim()
    response = await api.client.get(url, params={"wait": "3"})
    assert now() == pytest.approx(3)
    assert (response.status_code, response.json()["status"]) == (200, "processing")


async def test_get_when_waiting_for_an_unknown_id_then_404_at_once(api: Api) -> None:
    assert_problem(await api.client.get(f"{URL}/nosuchjob", params={"wait": "60"}), 404, "not_found")
    assert now() == 0


async def test_get_when_waiting_for_a_finished_job_then_answered_at_once(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.serve()
    assert (await api.client.get(url, params={"wait": "60"})).json()["status"] == "succeeded"
    assert now() == 0


async def test_get_when_the_wait_is_no_time_then_422(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    assert_problem(await api.client.get(url, params={"wait": "61"}), 422, "invalid_input", "wait")


async def test_get_when_the_deadline_passed_then_canceled_with_its_code(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.queue.now_us += 600_000_000
    api.queue.expire()
    body = (await api.client.get(url)).json()
    assert (body["status"], body["error_code"]) == ("canceled", "deadline_exceeded")
    assert body["completed_at"] == "2027-01-15T08:10:00.000000Z"
    assert body["metrics"] == {"total_time": 600.0}


# --- canceling


async def test_cancel_when_waiting_then_canceled_and_never_run(api: Api) -> None:
    posted = await api.submitted(ROW)
    response = await api.client.post(posted["urls"]["cancel"])
    body = response.json()
    assert response.status_code == 200
    assert (body["id"], body["status"], body["error_code"]) == (posted["id"], "canceled", "canceled")
    assert body["error"] == "canceled by request"
    assert api.claim().jobs == ()


async def test_cancel_when_somebody_waits_for_it_then_they_are_answered(api: Api) -> None:
    posted = await api.submitted(ROW)
    waiting = asyncio.ensure_future(api.client.get(posted["urls"]["get"], params={"wait": "60"}))
    await asyncio.sleep(0.5)
    await api.client.post(posted["urls"]["cancel"])
    assert (await waiting).json()["status"] == "canceled"
    assert now() < 1


async def test_cancel_when_finished_then_it_stays_as_it_is(api: Api) -> None:
    posted = await api.submitted(ROW)
    api.serve()
    body = (await api.client.post(posted["urls"]["cancel"])).json()
    assert (body["status"], body["output"]) == ("succeeded", {"y": [6.0, 4.0]})


async def test_cancel_when_the_id_is_unknown_then_404(api: Api) -> None:
    assert_problem(await api.client.post(f"{URL}/nosuchjob/cancel"), 404, "not_found")


# --- what is answered


async def test_output_when_one_row_without_its_batch_axis_then_answered_without_it(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.serve()
    assert (await api.client.get(url)).json()["output"] == {"y": [6.0, 4.0]}


async def test_output_when_one_row_with_its_batch_axis_then_answered_with_it(api: Api) -> None:
    posted = await api.submitted([ROW])
    assert posted["input"] == {"x": [ROW]}
    api.serve()
    assert (await api.client.get(posted["urls"]["get"])).json()["output"] == {"y": [[6.0, 4.0]]}


async def test_output_when_there_are_several_then_exactly_their_names(api: Api) -> None:
    outputs = (spec("total", "float64"), spec("words", "string", 2), spec("is_large", "bool"))
    await api.add_model(manifest("many", outputs=outputs))
    url = (await api.submitted([ROW, ROW], "many"))["urls"]["get"]
    texts = np.array([["a", "ü"], ["", "b"]], dtype=object)
    api.serve(lambda arrays: [np.array([6.5, 7]), texts, np.array([True, False])], name="many")
    assert (await api.client.get(url)).json()["output"] == {
        "total": [6.5, 7.0], "words": [["a", "ü"], ["", "b"]], "is_large": [True, False],
    }  # fmt: skip


async def test_output_when_not_finite_then_null(api: Api) -> None:
    one, many = await api.submitted(ROW), await api.submitted([ROW, ROW])
    values = np.array([[np.nan, np.inf], [-np.inf, 1]])
    api.serve(lambda arrays: [values[: len(arrays[0])]])
    assert (await api.client.get(one["urls"]["get"])).json()["output"] == {"y": [None, None]}
    assert (await api.client.get(many["urls"]["get"])).json()["output"] == {"y": [[None, None], [None, 1.0]]}


async def test_labels_when_the_model_has_them_then_the_best_per_row(api: Api) -> None:
    await api.add_model(manifest("named", labels=("sum", "rest")))
    one, many = await api.submitted(ROW, "named"), await api.submitted([ROW, [0, 0, 0]], "named")
    assert one["labels"] is None
    api.serve(name="named")
    assert (await api.client.get(one["urls"]["get"])).json()["labels"] == "sum"
    assert (await api.client.get(many["urls"]["get"])).json()["labels"] == ["sum", "rest"]


async def test_input_when_large_then_not_echoed(api: Api) -> None:
    await api.add_model(manifest("wide", inputs=(spec("x", "float64", None),)))
    fits = SMALL_INPUT_BYTES // 8 - 1  # beside 8 bytes of sizes
    for width, echo in ((fits, [0] * fits), (fits + 1, None)):
        posted = await api.submitted([0] * width, "wide")
        assert posted["input"] == (echo and {"x": echo})
        assert (await api.client.get(posted["urls"]["get"])).json() == posted


async def test_input_when_held_by_a_worker_then_still_echoed_and_gone_when_done(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    claim = api.claim()
    assert (await api.client.get(url)).json()["input"] == {"x": ROW}
    api.queue.leases[claim.token] = 0
    api.queue.lapse()
    api.serve()
    body = (await api.client.get(url)).json()
    assert (body["input"], body["attempts"]) == (None, 2)


async def test_get_when_the_model_is_gone_then_the_record_stays_and_the_data_is_removed(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.serve()
    shutil.rmtree(api.models / "toy")
    del api.queue.lanes["toy", "1"]
    await api.services.catalog.refresh()
    body = (await api.client.get(url)).json()
    assert (body["status"], body["output"], body["data_removed"]) == ("succeeded", None, True)


async def test_get_when_the_version_was_replaced_by_another_then_the_data_is_removed(api: Api) -> None:
    done, held = await api.submitted(ROW), await api.submitted(ROW)
    claim = api.queue.claim("toy", "1", max_rows=1)
    api.queue.settle(claim, "toy", "1", [], is_last=False)
    api.serve()
    replaced = manifest(inputs=(spec("x", "float64", 3),), outputs=(spec("y", "int8", 2),))
    put_model(api.models, replaced)
    api.queue.lanes["toy", "1"].served_ms = 0
    api.queue.announce(replaced)
    await api.services.catalog.refresh()
    body = (await api.client.get(held["urls"]["get"])).json()
    assert (body["status"], body["output"], body["data_removed"]) == ("succeeded", None, True)
    body = (await api.client.get(done["urls"]["get"])).json()
    assert (body["status"], body["input"], body["data_removed"]) == ("processing", None, False)


# --- input that does not fit


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("toi", "no model 'toi'; did you mean toy?"),
        ("zzz", "no model 'zzz'; there are toy"),
        ("toy:2", "model 'toy' has no version '2'; it has 1"),
        ("toy:stable", "model 'toy' has no version 'stable'; it has 1"),
        ("toy:1:1", "model 'toy' has no version '1:1'; it has 1"),
        ("somebody/toy", "no model 'somebody/toy'; there are toy"),
        ("Toy", "no model 'Toy'; did you mean toy?"),
        ("\x00", "no model '\\x00'; there are toy"),
    ],
)
async def test_post_when_the_model_is_unknown_then_404_with_what_there_is(api: Api, version: str, said: str) -> None:
    response = await api.client.post(URL, json=BODY | {"version": version})
    assert assert_problem(response, 404, "not_found") == said


@pytest.mark.parametrize("version", ["x" * 15_000, "toy:" + "1" * 15_000])
async def test_post_when_the_models_name_is_endless_then_the_answer_is_not(api: Api, version: str) -> None:
    response = await api.client.post(URL, json=BODY | {"version": version})
    assert len(assert_problem(response, 404, "not_found")) < 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"input": {"x": ROW}}, "#/version"),
        ({"version": "toy"}, "#/input"),
        ({}, "#/version"),
        ({"version": None, "input": {"x": ROW}}, "#/version"),
        ({"version": 1, "input": {"x": ROW}}, "#/version"),
        ({"model": 1, "input": {"x": ROW}}, "#/model"),
        ({"model": None, "version": "toy", "input": {"x": ROW}}, "#/model"),
        ({"model": "toy", "version": "other:1", "input": {"x": ROW}}, "#/version"),
        ({"model": "toy:1", "version": "2", "input": {"x": ROW}}, "#/version"),
        ({"model": "toy", "version": 1.0, "input": {"x": ROW}}, "#/version"),
        ({"version": True, "input": {"x": ROW}}, "#/version"),
        ({"version": ["toy"], "input": {"x": ROW}}, "#/version"),
        ({"version": "", "input": {"x": ROW}}, "#/version"),
        ({"version": "toy", "input": {"x": ROW}, "webhook": "http://x"}, "#/webhook"),
        ({"version": "toy", "input": {"x": ROW}, "a/b~c": 1}, "#/a~1b~0c"),
        ({"version": "toy", "input": {"x": ROW}, "": 1}, "#/"),
        ({"Version": "toy", "input": {"x": ROW}}, "#/Version"),
        ([], "#"),
        ([BODY], "#"),
        (None, "#"),
        ("toy", "#"),
        (7, "#"),
        (True, "#"),
    ],
)
async def test_post_when_the_body_is_not_the_shape_then_422_with_the_field(
    api: Api, body: object, pointer: str
) -> None:
    response = await api.client.post(URL, content=json.dumps(body), headers=JSON)
    assert_problem(response, 422, "invalid_input", pointer)
    assert api.queue.jobs == {}


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (None, "#/input"),
        ([1.0, 2.0], "#/input"),
        ("x", "#/input"),
        (1, "#/input"),
        ([{"x": ROW}, {"y": ROW}], "#/input/1/y"),
        ([{"x": ROW}, {"x": [1.0]}], "#/input/1/x"),
        ([{"x": ROW}, ROW], "#/input/1"),
        ({}, "#/input/x"),
        ({"y": ROW}, "#/input/y"),
        ({"x": ROW, "y": ROW}, "#/input/y"),
        ({"X": ROW}, "#/input/X"),
        ({"x": None}, "#/input/x"),
        ({"x": "abc"}, "#/input/x"),
        ({"x": {}}, "#/input/x"),
        ({"x": 1.0}, "#/input/x"),
        ({"x": [[ROW]]}, "#/input/x"),
        ({"x": [1.0, 2.0]}, "#/input/x"),
        ({"x": [[1.0, 2.0]]}, "#/input/x"),
        ({"x": [[]]}, "#/input/x"),
        ({"x": [ROW, [1.0]]}, "#/input/x"),
        ({"x": [ROW, 1.0]}, "#/input/x/1"),
        ({"x": [ROW, None]}, "#/input/x/1"),
        ({"x": [1.0, 2.0, [3.0]]}, "#/input/x"),
        ({"x": [1.0, 2.0, "3"]}, "#/input/x"),
        ({"x": [1.0, 2.0, True]}, "#/input/x"),
        ({"x": [1.0, 2.0, None]}, "#/input/x"),
        ({"x": [1.0, 2.0, {}]}, "#/input/x"),
        ({"x": []}, "#/input"),
        ({"x": [ROW] * 101}, "#/input"),
    ],
)
async def test_post_when_the_input_does_not_fit_then_422_with_the_field(api: Api, value: object, pointer: str) -> None:
    response = await api.client.post(URL, json=BODY | {"input": value})
    assert_problem(response, 422, "invalid_input", pointer)
    assert api.queue.jobs == {}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e39", "-1e39", "9" * 400])
async def test_post_when_a_number_is_none_that_float32_holds_then_422_with_the_field(api: Api, literal: str) -> None:
    content = f'{{"version": "toy", "input": {{"x": [0, 0, {literal}]}}}}'
    response = await api.client.post(URL, content=content, headers=JSON)
    assert_problem(response, 422, "invalid_input", "#/input/x")


@pytest.mark.parametrize("literal", ["65520", "-65520", "1e5", "NaN"])
async def test_post_when_a_number_is_none_that_float16_holds_then_422_with_the_field(api: Api, literal: str) -> None:
    await api.add_model(manifest("half", inputs=(spec("x", "float16"),)))
    content = f'{{"version": "half", "input": {{"x": {literal}}}}}'
    response = await api.client.post(URL, content=content, headers=JSON)
    assert_problem(response, 422, "invalid_input", "#/input/x")


@pytest.mark.parametrize("dtype", INTEGERS)
async def test_post_when_integers_are_at_the_ends_then_accepted_and_one_further_then_422(api: Api, dtype: str) -> None:
    await api.add_model(manifest("whole", inputs=(spec("x", dtype),)))
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    assert (await api.submitted([least, most], "whole"))["input"] == {"x": [least, most]}
    for wrong in (least - 1, most + 1, 10**30, -(10**30)):
        response = await api.client.post(URL, json={"version": "whole", "input": {"x": [0, wrong]}})
        assert_problem(response, 422, "invalid_input", "#/input/x")


@pytest.mark.parametrize(
    ("dtype", "literal"),
    [
        ("int64", "1.0"), ("int64", "1e2"), ("int64", '"1"'), ("int64", "true"),
        ("float32", '"1"'), ("float32", "false"),
        ("bool", "0"), ("bool", "1"), ("bool", '"true"'),
        ("string", "1"), ("string", "true"), ("string", "{}"),
    ],
)  # fmt: skip
async def test_post_when_the_type_is_another_then_422_with_the_field(api: Api, dtype: str, literal: str) -> None:
    await api.add_model(manifest("typed", inputs=(spec("x", dtype, 1),)))
    content = f'{{"version": "typed", "input": {{"x": [[{literal}]]}}}}'
    response = await api.client.post(URL, content=content, headers=JSON)
    assert dtype in assert_problem(response, 422, "invalid_input", "#/input/x")


async def test_post_when_inputs_have_different_rows_then_422(api: Api) -> None:
    await api.add_model(manifest("pair", inputs=(spec("a"), spec("b"))))
    response = await api.client.post(URL, json={"version": "pair", "input": {"a": [1, 2], "b": [1]}})
    assert "a: 2, b: 1" in assert_problem(response, 422, "invalid_input", "#/input")


# --- bodies that cannot be read


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"{",
        b'{"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}',
        b'{"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}}}',
        b"{'version': 'toy'}",
        b'{"version": "toy", }',
        b'{"version": "toy\xff", "input": {"x": [1, 2, 3]}}',
        b'{"version": "\xed\xa0\x80", "input": {"x": [1, 2, 3]}}',
        b'{"version": "\\ud800", "input": {"x": [1, 2, 3]}}',
        b'{"version": "toy", "input": {"x": [1, 2, NaN]}, "\\udfff": 1}',
        '{"version": "toy", "input": {"x": [1, 2, 3]}}'.encode("utf-16"),
        b"[" * 15_000,
        b'{"a":' * 3_000,
        b'{"version": "toy", "input": {"x": [1, 2, ' + b"9" * 5_000 + b"]}}",
    ],
)
async def test_post_when_it_is_not_json_then_400(api: Api, content: bytes) -> None:
    response = await api.client.post(URL, content=content, headers=JSON)
    assert "the body is not JSON" in assert_problem(response, 400, "malformed_request")
    assert api.queue.jobs == {}


async def test_post_when_the_nesting_is_deeper_than_any_tensors_then_400_or_422(api: Api) -> None:
    """Python's own reader gives up at a depth that its releases do not agree on."""
    content = b'{"version": "toy", "input": {"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}"
    response = await api.client.post(URL, content=content, headers=JSON)
    status = response.status_code
    assert_problem(response, status, {400: "malformed_request", 422: "invalid_input"}[status])


async def test_post_when_the_nesting_is_deep_but_json_then_422(api: Api) -> None:
    content = b'{"version": "toy", "input": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}"
    response = await api.client.post(URL, content=content, headers=JSON)
    assert_problem(response, 422, "invalid_input", "#/input/x")


async def test_post_when_a_text_is_half_a_surrogate_pair_then_400(api: Api) -> None:
    await api.add_model(manifest("text", inputs=(spec("x", "string"),)))
    response = await api.client.post(URL, content=b'{"version": "text", "input": {"x": ["\\ud83d"]}}', headers=JSON)
    assert_problem(response, 400, "malformed_request")
    assert (await api.submitted(["\U0001f600"], "text"))["input"] == {"x": ["\U0001f600"]}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "json"]
)
async def test_post_when_the_type_is_not_json_then_415(api: Api, content_type: str) -> None:
    response = await api.client.post(URL, content=json.dumps(BODY), headers={"Content-Type": content_type})
    detail = assert_problem(response, 415, "unsupported_media_type")
    assert content_type in detail
    assert "application/json" in detail


@pytest.mark.parametrize(("spare", "status"), [(0, 202), (1, 413)])
async def test_post_when_the_length_is_declared_then_refused_above_the_limit(api: Api, spare: int, status: int) -> None:
    content = json.dumps(BODY).encode().ljust(20_000 + spare)
    response = await api.client.post(URL, content=content, headers=JSON)
    assert response.status_code == status
    if status == 413:
        detail = assert_problem(response, 413, "body_too_large")
        assert "20001 bytes" in detail
        assert "20000 bytes (FERRY_MAX_BODY_BYTES)" in detail


async def test_post_when_the_length_is_not_declared_then_refused_as_soon_as_it_is_above_the_limit(api: Api) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 1000

    response = await api.client.post(URL, content=pieces(), headers=JSON)
    assert "content-length" not in response.request.headers
    assert "more than 20000 bytes" in assert_problem(response, 413, "body_too_large")
    assert sent == 21


async def test_post_when_it_comes_in_pieces_below_the_limit_then_accepted(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(BODY).encode():
            yield bytes([byte])

    assert (await api.client.post(URL, content=pieces(), headers=JSON)).status_code == 202


async def test_post_when_the_client_goes_away_in_the_middle_of_its_body_then_it_is_no_error_of_ours(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    events = [{"type": "http.request", "body": b'{"ver', "more_body": True}, {"type": "http.disconnect"}]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": URL,
        "raw_path": URL.encode(), "query_string": b"", "root_path": "", "headers": [], "server": ("ferry", 80),
        "client": ("somebody", 1),
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        return events.pop(0)

    async def send(_: object) -> None:
        pass

    await api.app(scope, receive, send)
    assert caplog.records == []
    assert api.queue.jobs == {}


# --- what the router refuses


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", URL, "GET, POST"),
        ("DELETE", URL, "GET, POST"),
        ("POST", f"{URL}/abc", "DELETE, GET, PUT"),
        ("POST", "/", "GET"),
        ("PATCH", f"{URL}/abc", "DELETE, GET, PUT"),
        ("GET", f"{URL}/abc/cancel", "POST"),
        ("GET", "/predict", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/v2/health/live", "GET"),
    ],
)
async def test_request_when_the_verb_is_wrong_then_405_with_the_right_one(
    api: Api, method: str, path: str, allow: str
) -> None:
    response = await api.client.request(method, path)
    assert f"{method} is not allowed at {path}" in assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/v1", "/v1/predictions/", "/v1/predictions/a/b", "/predict/", "/favicon.ico"])
async def test_request_when_there_is_nothing_at_the_path_then_404(api: Api, path: str) -> None:
    assert f"nothing at {path}" in assert_problem(await api.client.get(path), 404, "not_found")


# --- outages and limits


async def test_requests_when_the_queue_is_down_then_503_with_retry_after_and_fine_afterwards(api: Api) -> None:
    posted = await api.submitted(ROW)
    requests = [
        ("POST", URL, {"json": BODY}),
        ("POST", URL, {"json": BODY, "headers": {"Prefer": "wait=5"}}),
        ("GET", posted["urls"]["get"], {}),
        ("GET", posted["urls"]["get"], {"params": {"wait": "5"}}),
        ("POST", posted["urls"]["cancel"], {}),
    ]
    api.queue.is_down = True
    for method, url, more in requests:
        response = await api.client.request(method, url, **more)
        assert "Redis does not answer" in assert_problem(response, 503, "queue_unavailable")
        assert response.headers["retry-after"] == "1"
    await asyncio.sleep(10)
    api.queue.is_down = False
    for method, url, more in requests:
        assert (await api.client.request(method, url, **more)).status_code in {200, 202}


async def test_post_when_the_queue_is_down_then_a_model_that_only_workers_announced_is_not_unknown(api: Api) -> None:
    await api.queue.register(manifest("remote"))
    await api.services.catalog.refresh()
    api.queue.is_down = True
    await asyncio.sleep(10)
    response = await api.client.post(URL, json=BODY | {"version": "remote"})
    assert_problem(response, 503, "queue_unavailable")


async def test_post_when_the_queue_goes_down_after_it_accepted_then_202_and_not_an_error(api: Api) -> None:
    await api.add_model(manifest("wide", outputs=(spec("y", "float64", None),)))
    sending = asyncio.ensure_future(
        api.client.post(URL, json=BODY | {"version": "wide"}, headers={"Prefer": "wait=30"})
    )
    await asyncio.sleep(0.5)
    # The news comes through, but it is one of those that make the waiter read the job.
    api.serve(lambda arrays: [np.zeros((1, 1000))], name="wide")
    api.queue.is_down = True
    response = await sending
    assert (response.status_code, response.json()["status"]) == (202, "starting")


async def test_get_when_the_queue_goes_down_during_the_wait_then_503_at_its_end(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    waiting = asyncio.ensure_future(api.client.get(url, params={"wait": "5"}))
    await asyncio.sleep(1)
    api.queue.is_down = True
    assert_problem(await waiting, 503, "queue_unavailable")
    assert now() == pytest.approx(5)


async def test_post_when_the_queue_is_full_then_503_with_the_limits_and_retry_after(api: Api) -> None:
    api.queue.limits = replace(api.queue.limits, max_waiting_rows=2)
    await api.submitted([ROW, ROW])
    response = await api.client.post(URL, json=BODY)
    detail = assert_problem(response, 503, "queue_full")
    assert "toy:1 has 2 rows waiting; the limits are 1000 rows and 1000000 bytes" in detail
    assert response.headers["retry-after"] == "5"
    api.serve()
    await api.submitted(ROW)


async def test_post_when_all_models_are_full_together_then_503_says_so(api: Api) -> None:
    api.queue.limits = replace(api.queue.limits, max_rows_in_all=2)
    await api.submitted([ROW, ROW])
    detail = assert_problem(await api.client.post(URL, json=BODY), 503, "queue_full")
    assert "2 rows wait for all models together; the limits are 4000000 rows" in detail


async def test_post_when_redis_keeps_its_last_memory_then_503_with_the_remedy(api: Api) -> None:
    api.queue.has_memory = False
    response = await api.client.post(URL, json=BODY)
    detail = assert_problem(response, 503, "queue_full")
    assert "Redis has used 90 % of its memory" in detail
    assert "FERRY_RESULT_TTL_S=60" in detail
    assert response.headers["retry-after"] == "30"


async def test_post_when_the_queue_is_drained_then_503_and_what_waits_is_served(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    api.queue.drain("toy", "1")
    detail = assert_problem(await api.client.post(URL, json=BODY), 503, "queue_draining")
    assert "ferry queue resume toy:1" in detail
    api.serve()
    assert (await api.client.get(url)).json()["status"] == "succeeded"


async def test_post_when_a_job_is_larger_than_any_queue_then_422_for_no_retry_would_help(
    api: Api,
) -> None:
    small = api.services.settings.model_copy(update={"max_waiting_rows": 1})
    api.queue.limits = replace(api.queue.limits, max_waiting_rows=1)
    api.app.state.services = replace(api.services, settings=small)
    response = await api.client.post(URL, json={"version": "toy", "input": {"x": [ROW, ROW]}})
    assert "more than may wait at all (1 rows" in assert_problem(response, 422, "invalid_input")


# --- an id of the client's own


async def test_put_when_new_then_accepted_under_that_id(api: Api) -> None:
    response = await api.client.put(f"{URL}/order-42", json=BODY)
    assert (response.status_code, response.json()["id"]) == (202, "order-42")
    assert response.headers["location"] == f"{URL}/order-42"
    assert "idempotent-replayed" not in response.headers


async def test_put_when_sent_again_then_the_same_job_and_its_answer(api: Api) -> None:
    await api.client.put(f"{URL}/order-42", json=BODY)
    api.serve()
    again = await api.client.put(f"{URL}/order-42", json=BODY)
    assert (again.status_code, again.json()["status"]) == (201, "succeeded")
    assert again.headers["idempotent-replayed"] == "true"
    assert api.claim().jobs == ()


async def test_put_when_the_id_stands_for_another_input_then_422(api: Api) -> None:
    await api.client.put(f"{URL}/order-42", json=BODY)
    other = {"version": "toy", "input": {"x": [9.0, 9.0, 9.0]}}
    assert_problem(await api.client.put(f"{URL}/order-42", json=other), 422, "reused")


@pytest.mark.parametrize("job_id", ["-x", ".x", "a b", "ä", "x" * 65, "a:b"])
async def test_put_when_the_id_is_no_id_then_422_with_the_rule(api: Api, job_id: str) -> None:
    response = await api.client.put(f"{URL}/{job_id}", json=BODY)
    detail = assert_problem(response, 422, "invalid_input", "job_id")
    assert "1 to 64 of A-Z" in detail


# --- delete


async def test_delete_when_known_then_204_and_gone(api: Api) -> None:
    url = (await api.submitted(ROW))["urls"]["get"]
    response = await api.client.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    assert_problem(await api.client.get(url), 404, "not_found")
    assert_problem(await api.client.delete(url), 404, "not_found")
    assert api.claim().jobs == ()


async def test_delete_when_somebody_waits_for_it_then_they_hear_that_it_was(api: Api) -> None:
    job_id = (await api.submitted(ROW))["id"]
    waiting = asyncio.ensure_future(api.client.get(f"{URL}/{job_id}", params={"wait": "30"}))
    await asyncio.sleep(1)
    await api.client.delete(f"{URL}/{job_id}")
    body = (await waiting).json()
    assert (body["status"], body["error"]) == ("canceled", "deleted by request")
    assert now() == pytest.approx(1)


async def test_post_when_the_queue_was_wiped_then_the_model_is_made_known_again(api: Api) -> None:
    api.queue.lanes.clear()
    await api.submitted(ROW)
    assert len(api.claim().jobs) == 1


async def test_post_when_the_queue_forgets_the_model_again_and_again_then_503(api: Api) -> None:
    async def forget(_: object) -> None:
        api.queue.lanes.clear()

    api.queue.register = forget
    api.queue.lanes.clear()
    response = await api.client.post(URL, json=BODY)
    assert "forgot toy:1 twice" in assert_problem(response, 503, "queue_unavailable")
    assert response.headers["retry-after"] == "1"


async def test_get_when_something_unexpected_is_raised_then_500_that_tells_nothing_of_it(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    async def read(_: str) -> None:
        raise ZeroDivisionError("password=hunter2")

    api.queue.read = read
    response = await api.client.get(f"{URL}/abc")
    assert "API's log" in assert_problem(response, 500, "internal")
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert "ZeroDivisionError: password=hunter2" in caplog.text


# --- terms and keys


async def test_submit_when_it_says_by_when_and_before_whom_then_the_job_has_it(api: Api) -> None:
    body = {"version": "toy", "input": {"x": ROW}}
    response = await api.client.post(URL, json=body, headers={"Cancel-After": "90s", "Priority": "u=7"})
    job = api.queue.jobs[response.json()["id"]]
    assert job.job_class is JobClass.BULK
    assert 89.99e6 <= job.record.deadline_us - job.record.created_us <= 90e6
    assert timestamp(job.record.deadline_us) == response.json()["deadline"]


async def test_submit_when_the_time_is_none_then_refused_and_nothing_is_queued(api: Api) -> None:
    body = {"version": "toy", "input": {"x": ROW}}
    response = await api.client.post(URL, json=body, headers={"Cancel-After": "soon"})
    assert "expected 90s, 5m, 2h or 200ms" in assert_problem(response, 422, "invalid_input")
    assert api.queue.jobs == {}


async def test_submit_when_the_key_comes_again_then_the_same_job_and_said_so(api: Api) -> None:
    body, keyed = {"version": "toy", "input": {"x": ROW}}, {"Idempotency-Key": '"order-7"'}
    first = await api.client.post(URL, json=body, headers=keyed)
    again = await api.client.post(URL, json=body, headers={"Idempotency-Key": "order-7"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    api.serve()
    done = await api.client.post(URL, json=body, headers=keyed)
    assert (done.status_code, done.json()["status"], len(api.queue.jobs)) == (201, "succeeded", 1)


async def test_submit_when_the_key_comes_with_another_body_then_422_and_the_first_job_stays(api: Api) -> None:
    keyed = {"Idempotency-Key": "order-7"}
    first = await api.client.post(URL, json={"version": "toy", "input": {"x": ROW}}, headers=keyed)
    other = await api.client.post(URL, json={"version": "toy", "input": {"x": [ROW]}}, headers=keyed)
    assert "another body or terms" in assert_problem(other, 422, "reused")
    assert list(api.queue.jobs) == [first.json()["id"]]


# --- many at once


async def test_many_when_submitted_then_each_is_a_job_of_its_own_and_all_are_read_at_once(api: Api) -> None:
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]]
    response = await api.client.post(f"{URL}/many", json={"version": "toy", "inputs": [{"x": row} for row in rows]})
    body = response.json()
    assert (response.status_code, body["object"]) == (202, "list")
    ids = [job["id"] for job in body["data"]]
    assert len(set(ids)) == 3
    assert [(job["state"], job["rows"], job["input"]) for job in body["data"]] == [
        ("queued", 1, None), ("queued", 1, None), ("queued", 2, None),
    ]  # fmt: skip
    assert len(api.serve().jobs) == 3
    read = (await api.client.get(URL, params={"id": [*ids, "none", ids[0]]})).json()
    assert [job["id"] for job in read["data"]] == [*ids, ids[0]]
    assert [job["output"]["y"] for job in read["data"][:3]] == [[6, 4], [15, -5], [[3, 7], [6, 4]]]
    assert read["missing"] == ["none"]


async def test_many_when_sent_again_under_the_same_ids_then_the_same_jobs(api: Api) -> None:
    body = {"version": "toy:1", "inputs": [{"x": [1.0, 2.0, 3.0]}, {"x": [4.0, 5.0, 6.0]}], "ids": ["a", "b"]}
    for state in ("queued", "succeeded"):
        jobs = (await api.client.post(f"{URL}/many", json=body)).json()["data"]
        assert [(job["id"], job["state"]) for job in jobs] == [("a", state), ("b", state)]
        assert len(api.serve().jobs) == (2 if state == "queued" else 0)
    other = body | {"inputs": [{"x": [9.0, 9.0, 9.0]}, {"x": [4.0, 5.0, 6.0]}]}
    changed, same = (await api.client.post(f"{URL}/many", json=other)).json()["data"]
    assert (changed["error"]["code"], changed["error"]["retryable"]) == ("reused", False)
    assert same["id"] == "b"


async def test_many_when_one_does_not_fit_then_none_is_queued(api: Api) -> None:
    body = {"version": "toy", "inputs": [{"x": [1.0, 2.0, 3.0]}, {"x": ["one"]}]}
    response = await api.client.post(f"{URL}/many", json=body)
    assert response.json()["errors"][0]["pointer"].startswith("#/inputs/1/x")
    assert response.status_code == 422
    assert not api.claim().jobs


async def test_many_when_the_queue_has_room_for_some_then_the_others_say_why(api: Api) -> None:
    rows = [[1, 2, 3]] * 100
    body = {"version": "toy", "inputs": [{"x": rows}] * 12}
    response = await api.client.post(f"{URL}/many", json=body)
    assert response.status_code == 202, response.text
    data = response.json()["data"]
    assert [job.get("state") for job in data] == ["queued"] * 10 + [None] * 2
    assert data[10]["error"]["code"] == "queue_full"
    assert data[10]["error"]["retry_after_s"] >= 1
    full = await api.client.post(f"{URL}/many", json=body)
    assert_problem(full, 503, "queue_full")
    assert int(full.headers["retry-after"]) >= 1


ROW_3 = {"x": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"version": "toy"}, "#/inputs"),
        ({"inputs": [ROW_3]}, "#/version"),
        ({"version": "toy", "inputs": []}, "#/inputs"),
        ({"version": "toy", "inputs": [ROW_3] * 101}, "#/inputs"),
        ({"version": "toy", "inputs": ROW_3}, "#/inputs"),
        ({"version": "toy", "inputs": list(range(50))}, "#/inputs/0"),
        ({"version": "toy", "input": ROW_3}, "#/input"),
        ({"version": "toy", "inputs": [ROW_3], "ids": []}, "#/ids"),
        ({"version": "toy", "inputs": [ROW_3], "ids": ["a", "b"]}, "#/ids"),
        ({"version": "toy", "inputs": [ROW_3, ROW_3], "ids": ["a", "a"]}, "#/ids"),
        ({"version": "toy", "inputs": [ROW_3], "ids": ["not an id"]}, "#/ids/0"),
        ({"version": "toy", "inputs": [ROW_3], "ids": [7]}, "#/ids/0"),
    ],
)
async def test_many_when_a_field_is_wrong_then_named(api: Api, body: dict[str, object], pointer: str) -> None:
    assert_problem(await api.client.post(f"{URL}/many", json=body), 422, "invalid_input", pointer)


@pytest.mark.parametrize("query", ["", "?" + "&".join(["id=a"] * 101)])
async def test_read_many_when_there_is_no_id_or_too_many_then_422(api: Api, query: str) -> None:
    assert_problem(await api.client.get(f"{URL}{query}"), 422, "invalid_input")


# --- the model, and inputs as people write them


@pytest.mark.parametrize(
    "named",
    [
        {"version": "toy"}, {"model": "toy"}, {"model": "toy:1"}, {"model": "local/toy"},
        {"model": "toy", "version": "1"}, {"model": "toy", "version": 1}, {"model": "toy", "version": "toy:1"},
        {"model": "toy:1", "version": "1"}, {"model": "toy", "version": "toy"}, {"model": "toy", "version": None},
        {"model": "toy", "version": "latest"}, {"model": "local/toy", "version": "local/toy:1"},
    ],
)  # fmt: skip
async def test_post_when_the_model_is_named_in_any_way_then_it_is_run(api: Api, named: dict[str, object]) -> None:
    for path, body in ((URL, {"input": ROW_3}), (f"{URL}/many", {"inputs": [ROW_3]})):
        response = await api.client.post(path, json=named | body)
        assert response.status_code == 202, response.text
    response = await api.client.put(f"{URL}/own", json=named | {"input": ROW_3})
    assert (response.json()["model"], response.json()["version"]) == ("local/toy", "1")
    response = await api.answered(api.client.post("/predict", json=named | {"x": ROW}))
    assert response.status_code == 200, response.text


async def test_post_when_the_answer_is_sent_back_then_its_fields_name_the_same_job(api: Api) -> None:
    first = await api.submitted(ROW)
    again = {key: first[key] for key in ("model", "version", "input")}
    assert (await api.client.post(URL, json=again)).json()["input"] == first["input"]


async def test_many_when_inputs_are_bare_values_then_each_is_a_job(api: Api) -> None:
    await api.add_model(manifest("age", inputs=(spec("x", "float32", 1),)))
    for inputs in ([30, 40.5], list(range(50)), [[30, 40], [[1]], {"x": 7}, [{"x": 1}, {"x": 2}]]):
        response = await api.client.post(f"{URL}/many", json={"model": "age", "inputs": inputs})
        assert response.status_code == 202, response.text
        assert len(response.json()["data"]) == len(inputs)
    await api.add_model(manifest("wide", inputs=(spec("x", "float32", 40),)))
    response = await api.client.post(f"{URL}/many", json={"model": "wide", "inputs": [list(range(40))] * 3})
    assert [job["rows"] for job in response.json()["data"]] == [1, 1, 1]


async def test_post_when_a_table_is_sent_as_rows_or_columns_then_one_job_of_its_rows(api: Api) -> None:
    await api.add_model(manifest("table", inputs=(spec("age", "float32", 1), spec("k", "int64"))))
    for value in ([{"age": 30, "k": 1}, {"age": 40, "k": 2}], {"age": [30, 40], "k": [1, 2]}):
        response = await api.client.post(URL, json={"model": "table", "input": value})
        assert response.json()["input"] == {"age": [[30], [40]], "k": [1, 2]}
    response = await api.client.post(URL, json={"model": "table", "input": [[30, 1]]})
    detail = assert_problem(response, 422, "invalid_input", "#/input")
    assert detail.endswith('; table:1 takes {"age": [[0.0]], "k": [0]} or [{"age": 0.0, "k": 0}]')
