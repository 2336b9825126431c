import asyncio

import numpy as np
import pytest

from tests.manifests import manifest, spec
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio

DIGITS = tuple("0123456789")
IMAGE = [[0.0, 0.5], [1.0, 0.25]]


def digits(**changes: object):
    """A small MNIST: x (rows, 2, 2) from 0 to 1, ten scores."""
    return manifest(
        "digits",
        inputs=(spec("x", "float32", 2, 2, range=(0, 1)),),
        outputs=(spec("scores", "float32", 10),),
        labels=DIGITS,
        **changes,
    )


def seven(arrays):
    assert arrays[0].shape == (1, 2, 2)
    assert arrays[0].tolist() == [IMAGE]
    return [np.eye(10, dtype=np.float32)[[7]]]


@pytest.fixture
async def digits_api(api: Api) -> Api:
    await api.add_model(digits())
    return api


def body(x: object = IMAGE, model: object = "digits") -> dict[str, object]:
    return {"x": x, "model": model}


@pytest.mark.parametrize("x", [IMAGE, [0.0, 0.5, 1.0, 0.25], [IMAGE], [[0.0, 0.5, 1, 0.25]]])
async def test_predict_when_nested_or_flat_then_the_class_with_the_highest_score(digits_api: Api, x: object) -> None:
    response = await digits_api.answered(digits_api.client.post("/predict", json=body(x)), seven, name="digits")
    assert (response.status_code, response.json()) == (200, {"prediction": 7})
    polled = await digits_api.client.get(response.headers["location"])
    assert (polled.json()["status"], polled.json()["labels"]) == ("succeeded", "7")


async def test_predict_when_labels_are_words_then_the_label_too(api: Api) -> None:
    await api.add_model(manifest("named", labels=("sum", "rest")))
    sending = api.client.post("/predict", json={"x": [1, 1, 1], "model": "named"})
    response = await api.answered(sending, name="named")
    assert response.json() == {"prediction": 1, "label": "rest"}


async def test_predict_when_a_score_is_no_number_then_500_and_no_class_is_guessed(api: Api) -> None:
    sending = api.client.post("/predict", json={"x": [1, 1, 1]})
    response = await api.answered(sending, lambda _: [np.array([[np.nan, 1]], np.float32)])
    assert "scores that are no numbers" in assert_problem(response, 500, "model_error")


async def test_predict_when_no_model_is_named_then_the_default_one(api: Api) -> None:
    response = await api.answered(api.client.post("/predict", json={"x": [3, 3, 3]}))
    assert response.json() == {"prediction": 0}


async def test_predict_when_a_version_is_named_then_that_one(api: Api) -> None:
    await api.add_model(manifest(version="2"))
    sending = api.client.post("/predict", json={"x": [3, 3, 3], "model": "toy:1"})
    assert (await api.answered(sending)).status_code == 200


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.5, "1.5 is above 1: 'x' takes values from 0 to 1; divide pixels by 255"),
        (255, "255 is above 1: 'x' takes values from 0 to 1; divide pixels by 255"),
        (-0.5, "-0.5 is below 0: 'x' takes values from 0 to 1"),
        (1e6, "1e+06 is above 1: 'x' takes values from 0 to 1"),
    ],
)
async def test_predict_when_a_value_is_out_of_range_then_422_with_the_remedy(
    digits_api: Api, value: float, said: str
) -> None:
    response = await digits_api.client.post("/predict", json=body([0, 0, 0, value]))
    assert assert_problem(response, 422, "invalid_input", "#/x") == said
    assert digits_api.queue.jobs == {}


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([0.0] * 3, "expected 4 numbers (2 x 2, nested or flat), got 3"),
        ([0.0] * 5, "expected 4 numbers (2 x 2, nested or flat), got 5"),
        ([IMAGE, IMAGE], "expected 4 numbers (2 x 2, nested or flat), got 8"),
        ([], "got 0"),
        (0.5, "got 1"),
        ("0000", "got 1"),
        ({}, "got 1"),
        ([[0, 0], [0]], "ragged"),
        ([0, 0, 0, "0"], "expected a number (float32), got the string '0'"),
        ([0, 0, 0, True], "got the boolean true"),
        ([0, 0, 0, None], "has a missing value (null, NaN or an empty cell) at position (2, 2)"),
        ([0.0] * 3, "; digits:1 takes [[0.0, 0.0], [0.0, 0.0]]"),
        ([0, 0, 0, [0]], "got a list"),
    ],
)
async def test_predict_when_the_row_does_not_fit_then_422_with_what_was_expected(
    digits_api: Api, x: object, said: str
) -> None:
    response = await digits_api.client.post("/predict", json=body(x))
    assert said in assert_problem(response, 422, "invalid_input", "#/x")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "1e39"])
async def test_predict_when_a_number_is_not_finite_then_422(digits_api: Api, literal: str) -> None:
    content = f'{{"model": "digits", "x": [0, 0, 0, {literal}]}}'
    response = await digits_api.client.post("/predict", content=content)
    assert_problem(response, 422, "invalid_input", "#/x")


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({}, "#/x"),
        ({"model": "digits"}, "#/x"),
        ({"x": IMAGE, "model": None}, "#/model"),
        ({"x": IMAGE, "model": 1}, "#/model"),
        ({"x": IMAGE, "model": ""}, "#/model"),
        ({"x": IMAGE, "version": None}, "#/version"),
        ({"x": IMAGE, "model": "digits", "version": "other:1"}, "#/version"),
        ({"x": IMAGE, "a/b": 1}, "#/a~1b"),
        ([IMAGE], "#"),
        ("x", "#"),
    ],
)
async def test_predict_when_the_body_is_not_the_shape_then_422_with_the_field(
    digits_api: Api, sent: object, pointer: str
) -> None:
    assert_problem(await digits_api.client.post("/predict", json=sent), 422, "invalid_input", pointer)


async def test_predict_when_the_model_is_unknown_then_404_with_what_there_is(digits_api: Api) -> None:
    response = await digits_api.client.post("/predict", json=body(model="digit"))
    assert assert_problem(response, 404, "not_found") == "no model 'digit'; did you mean digits?"


async def test_predict_when_the_body_cannot_be_read_then_400_413_or_415(api: Api) -> None:
    assert_problem(await api.client.post("/predict", content=b"{"), 400, "malformed_request")
    assert_problem(await api.client.post("/predict", content=b" " * 20_001), 413, "body_too_large")
    assert_problem(await api.client.post("/predict", data={"x": "1"}), 415, "unsupported_media_type")


async def test_predict_when_the_model_has_two_inputs_then_422_with_where_to_go(api: Api) -> None:
    await api.add_model(manifest("pair", inputs=(spec("a"), spec("b"))))
    response = await api.client.post("/predict", json=body([1], "pair"))
    detail = assert_problem(response, 422, "invalid_input", "#/model")
    assert detail == "pair:1 has 2 inputs (a, b), /predict takes one; use /v1/predictions"


@pytest.mark.parametrize("output", [spec("y"), spec("y", "float32", 2, 2), spec("y", "string", 2)])
async def test_predict_when_the_model_gives_no_scores_then_422_with_where_to_go(api: Api, output) -> None:
    await api.add_model(manifest("scalar", outputs=(output,)))
    response = await api.client.post("/predict", json=body([1, 2, 3], "scalar"))
    assert "use /v1/predictions" in assert_problem(response, 422, "invalid_input", "#/model")


async def test_predict_when_no_worker_lives_then_503_with_retry_after(api: Api) -> None:
    await api.add_model(digits(), is_served=False)
    response = await api.client.post("/predict", json=body())
    assert "no live worker serves digits:1" in assert_problem(response, 503, "no_worker")
    assert response.headers["retry-after"] == "1"
    assert api.queue.jobs == {}


async def test_predict_when_a_worker_came_since_the_last_look_then_answered(api: Api) -> None:
    await api.add_model(digits(), is_served=False)
    api.queue.beat(dict.fromkeys([("digits", "1")], ""))
    response = await api.answered(api.client.post("/predict", json=body()), seven, name="digits")
    assert response.status_code == 200


async def test_predict_when_the_last_worker_is_long_gone_then_503(digits_api: Api) -> None:
    digits_api.queue.now_us += 6_000_000
    await digits_api.services.catalog.refresh()
    assert_problem(await digits_api.client.post("/predict", json=body()), 503, "no_worker")


async def test_predict_when_nobody_answers_in_time_then_504_with_where_to_poll(digits_api: Api) -> None:
    response = await digits_api.client.post("/predict", json=body())
    assert asyncio.get_running_loop().time() == pytest.approx(60)
    (job_id,) = digits_api.queue.jobs
    detail = assert_problem(response, 504, "wait_timeout")
    assert detail == f"not done within 60 s; the job goes on, poll /v1/predictions/{job_id}"
    assert response.headers["retry-after"] == "1"
    digits_api.serve(seven, name="digits")
    assert (await digits_api.client.get(f"/v1/predictions/{job_id}")).json()["status"] == "succeeded"


@pytest.mark.parametrize("error_code", ["model_error", "worker_lost"])
async def test_predict_when_the_job_fails_then_500_with_its_reason(digits_api: Api, error_code: str) -> None:
    sending = digits_api.client.post("/predict", json=body())
    response = await digits_api.answered(sending, name="digits", error_code=error_code)
    (job_id,) = digits_api.queue.jobs
    detail = assert_problem(response, 500, "model_error")
    assert detail == f"the job ended failed: it broke (see /v1/predictions/{job_id})"


async def test_predict_when_the_worker_finds_the_input_invalid_then_422(digits_api: Api) -> None:
    sending = digits_api.client.post("/predict", json=body())
    response = await digits_api.answered(sending, name="digits", error_code="invalid_input")
    assert "it broke" in assert_problem(response, 422, "invalid_input", "#/x")


async def test_predict_when_somebody_cancels_the_job_then_500_that_says_so(digits_api: Api) -> None:
    sending = asyncio.ensure_future(digits_api.client.post("/predict", json=body()))
    await asyncio.sleep(0.5)
    (job_id,) = digits_api.queue.jobs
    await digits_api.client.post(f"/v1/predictions/{job_id}/cancel")
    assert "the job ended canceled" in assert_problem(await sending, 500, "model_error")


async def test_predict_when_the_queue_is_down_then_503_with_retry_after_and_fine_afterwards(digits_api: Api) -> None:
    digits_api.queue.is_down = True
    response = await digits_api.client.post("/predict", json=body())
    assert_problem(response, 503, "queue_unavailable")
    await asyncio.sleep(5)
    response = await digits_api.client.post("/predict", json=body())
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    digits_api.queue.is_down = False
    response = await digits_api.answered(digits_api.client.post("/predict", json=body()), seven, name="digits")
    assert response.status_code == 200
