"""The main job over HTTP: real digits through the whole stack, in every way a user may ask."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from tests.e2e.conftest import Stack
from tests.processes import eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def digits(models_dir_module: Path) -> tuple[np.ndarray, np.ndarray]:
    """x: (1000, 28, 28) float32 in 0..1; y: (1000,) the digits they are."""
    with np.load(models_dir_module / "mnist" / "1" / "samples" / "digits.npz", allow_pickle=False) as file:
        return np.float32(file["x"]) / np.float32(255), file["y"]


@pytest.fixture(scope="module")
def models_dir_module(stack: Stack) -> Path:
    return stack.models_dir


def predicted(client: httpx.Client, body: dict[str, object]) -> dict[str, object]:
    response = client.post("/v1/predictions", json=body, headers={"Prefer": "wait"})
    assert response.status_code == 201, response.text
    return response.json()


def test_digits_when_sent_at_once_then_right_batched_and_equal_to_direct_runs(
    digits: tuple[np.ndarray, np.ndarray], stack: Stack
) -> None:
    x, y = digits[0][:300], digits[1][:300]

    def send(rows: np.ndarray) -> list[dict[str, object]]:
        # Each thread has a client of its own: one that is shared closes connections under another's hands now and then.
        with httpx.Client(base_url=stack.api_url, timeout=60) as own:
            return [predicted(own, {"version": "mnist", "input": {"x": row.tolist()}}) for row in rows]

    with ThreadPoolExecutor(32) as pool:
        jobs = [job for part in pool.map(send, np.array_split(x, 32)) for job in part]
    assert {job["status"] for job in jobs} == {"succeeded"}
    scores = np.array([job["output"]["probabilities"] for job in jobs], dtype=np.float32)
    session = onnxruntime.InferenceSession(
        str(stack.models_dir / "mnist/1/model.onnx"), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(scores, session.run(None, {"x": x})[0], atol=1e-6)
    assert (scores.argmax(axis=1) == y).mean() >= 0.95
    assert [job["labels"] for job in jobs] == [str(digit) for digit in scores.argmax(axis=1)]


def test_digits_when_many_rows_in_one_job_then_answered_in_order(
    client: httpx.Client, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits
    job = predicted(client, {"version": "mnist:1", "input": {"x": x[:200].tolist()}})
    scores = np.array(job["output"]["probabilities"])
    assert scores.shape == (200, 10)
    assert (scores.argmax(axis=1) == y[:200]).mean() >= 0.95
    assert job["rows"] == 200
    assert len(job["labels"]) == 200


def test_digits_when_polled_then_the_job_is_found_until_it_is_done(
    client: httpx.Client, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    accepted = client.post("/v1/predictions", json={"version": "mnist", "input": {"x": digits[0][0].tolist()}})
    assert accepted.status_code == 202
    location = accepted.headers["location"]
    eventually(lambda: client.get(location).json()["status"] == "succeeded", "the job succeeds")
    job = client.get(location).json()
    assert job["labels"] == str(digits[1][0])
    assert job["input"] is None
    assert job["metrics"]["total_time"] >= job["metrics"]["predict_time"] > 0


@pytest.mark.parametrize("form", ["flat", "nested"])
def test_predict_when_called_as_in_the_article_then_the_digit(
    client: httpx.Client, digits: tuple[np.ndarray, np.ndarray], form: str
) -> None:
    row = digits[0][1]
    response = client.post("/predict", json={"x": (row.ravel() if form == "flat" else row).tolist()})
    assert response.status_code == 200
    assert response.json() == {"prediction": int(digits[1][1])}


def test_predict_when_pixels_are_not_scaled_then_422_says_so(client: httpx.Client) -> None:
    response = client.post("/predict", json={"x": [255.0] * 784})
    assert response.status_code == 422
    assert "from 0 to 1" in response.json()["detail"]


def test_flower_when_a_job_is_done_then_its_ticket_has_a_page_that_tells(
    client: httpx.Client, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    job = predicted(client, {"version": "mnist", "input": {"x": digits[0][:5].tolist()}})
    url = job["batch"]["url"]
    eventually(lambda: "SUCCESS" in httpx.get(url).text, "Flower has heard of the ticket")
    page = httpx.get(url).text.replace("&#x27;", "'")
    for told in ("ferry.run_batches", "'model': 'mnist'", "'version': '1'", "'run_ms'"):
        assert told in page
    # A ticket continues for some milliseconds: the job of the test before may be in it too.
    rows, jobs = (int(re.search(rf"'{name}': (\d+)", page)[1]) for name in ("rows", "jobs"))
    assert rows >= 5
    assert 1 <= jobs <= rows


def test_models_when_listed_then_signature_and_live_workers(client: httpx.Client) -> None:
    def live_workers() -> int:
        return client.get("/v1/models/mnist").json()["versions"][0]["live_workers"]

    eventually(lambda: live_workers() == 2, "both workers serve it")
    model = client.get("/v1/models/mnist").json()
    (version,) = model["versions"]
    assert version["inputs"][0]["shape"] == [-1, 28, 28]
    assert client.get("/v1/models").json()["data"] == [model]


def test_docs_when_opened_then_served_and_openapi_names_every_route(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/predictions", "/v1/predictions/{job_id}", "/predict", "/v1/models", "/v2/health/live"} <= set(paths)
