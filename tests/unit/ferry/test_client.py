import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from ferry.client import ApiError, ApiUnreachableError, AsyncClient, Client, Prediction
from ferry.client_flows import (
    ANSWER_TIMEOUT_S,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_S,
    POLL_PAUSE_S,
    Call,
    Flow,
    predict_flow,
    submit_flow,
    wait_flow,
)
from ferry.errors import Fault, InvalidInputError, WaitTimeoutError

DONE = {
    "id": "abc",
    "model": "local/mnist",
    "version": "1",
    "status": "succeeded",
    "output": {"probabilities": [0.1, 0.9]},
    "labels": "1",
    "error": None,
    "error_code": None,
    "created_at": "2026-11-22T12:00:00.000001Z",
    "started_at": "2026-11-22T12:00:00.010000Z",
    "completed_at": "2026-11-22T12:00:00.020000Z",
    "metrics": {"predict_time": 0.004, "total_time": 0.02},
    "batch": {"id": "ticket.0", "rows": 8, "jobs": 8},
}
WAITING = {"id": "abc", "model": "local/mnist", "version": "1", "status": "starting", "metrics": {}, "batch": None}
FULL = {
    "type": "https://ferry/problems/queue-full",
    "title": "Queue is full",
    "status": 503,
    "code": "queue_full",
    "detail": "model 'mnist' has 10 waiting rows (limit 10)",
}
WRONG = {
    "type": "https://ferry/problems/invalid-input",
    "status": 422,
    "detail": "2 faults",
    "errors": [{"detail": "expected 28", "pointer": "/input/x"}, {"detail": "no"}],
}


class FakeApi:
    """Answers in turn, and remembers the requests."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answers.pop(0)

    @property
    def client(self) -> Client:
        return Client("http://api:8000", transport=httpx.MockTransport(self))


def answer(status: int, body: Any, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, content=orjson.dumps(body), headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def play(flow: Flow[Any], *answers: httpx.Response) -> tuple[Any, list[Call]]:
    """Carry a flow by hand: no client, no waiting."""
    calls = [next(flow)]
    for response in answers[:-1]:
        calls.append(flow.send(response))
    with pytest.raises(StopIteration) as end:
        flow.send(answers[-1])
    return end.value.value, calls


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


# --- what is sent


def test_submit_sends_one_job_and_reads_it_back() -> None:
    api = FakeApi(answer(202, WAITING, retry_after="1"))
    with api.client as client:
        prediction = client.submit("mnist:1", {"x": [[0.5]]})
    (request,) = api.requests
    assert (request.method, request.url.path) == ("POST", "/v1/predictions")
    assert request.headers["content-type"] == "application/json"
    assert orjson.loads(request.content) == {"version": "mnist:1", "input": {"x": [[0.5]]}}
    assert (prediction.id, prediction.status, prediction.is_done) == ("abc", "starting", False)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1, 2], [3, 4]], np.float32),
        np.array([[1, 2], [3, 4]], ">i4"),
        np.array([[1, 3], [2, 4]], np.int64).T,
        np.array([[1, 0, 2, 0], [3, 0, 4, 0]], np.float64)[:, ::2],
    ],
)
def test_submit_when_inputs_are_arrays_writes_their_numbers(array: Any) -> None:
    call = next(submit_flow("m", {"x": array}))
    assert orjson.loads(call.content or b"")["input"]["x"] == [[1, 2], [3, 4]]


def test_submit_when_inputs_are_single_numbers_and_text_writes_them() -> None:
    call = next(submit_flow("m", {"x": np.float32(0.5), "s": np.array(["a", "b"])}))
    assert orjson.loads(call.content or b"")["input"] == {"x": 0.5, "s": ["a", "b"]}


def test_submit_when_an_input_is_no_data_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidInputError, match="cannot be written as JSON"):
        next(submit_flow("m", {"x": object()}))


def test_api_key_is_sent_as_bearer_token() -> None:
    api = FakeApi(answer(200, DONE))
    with Client("http://api", "key", transport=httpx.MockTransport(api)) as client:
        client.get("abc")
    assert api.requests[0].headers["authorization"] == "Bearer key"


def test_get_when_the_id_has_odd_signs_stays_one_path_segment() -> None:
    api = FakeApi(answer(200, DONE))
    with api.client as client:
        client.get("a/b?c")
    assert api.requests[0].url.raw_path == b"/v1/predictions/a%2Fb%3Fc"


# --- what is read


def test_prediction_has_typed_fields_and_the_raw_answer() -> None:
    with FakeApi(answer(200, DONE)).client as client:
        prediction = client.get("abc")
    assert prediction.has_succeeded
    assert prediction.output == {"probabilities": [0.1, 0.9]}
    assert prediction.created_at is not None
    assert prediction.completed_at is not None
    assert (prediction.completed_at - prediction.created_at).total_seconds() == 0.019999
    assert (prediction.predict_time_s, prediction.total_time_s) == (0.004, 0.02)
    assert (prediction.batch_id, prediction.batch_rows, prediction.batch_jobs) == ("ticket.0", 8, 8)
    assert prediction.raw == DONE


def test_models_lists_names_and_versions() -> None:
    entries = [{"name": "mnist", "owner": "local", "latest_version": {"id": "2"}}, {"name": "bare"}]
    with FakeApi(answer(200, {"results": entries})).client as client:
        mnist, bare = client.models()
    assert (mnist.name, mnist.owner, mnist.latest_version) == ("mnist", "local", "2")
    assert (bare.name, bare.latest_version) == ("bare", "")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"id": 1, "created_at": "x"}'])
def test_get_when_another_server_answers_says_so(body: bytes) -> None:
    with FakeApi(httpx.Response(200, content=body)).client as client, pytest.raises(ApiError, match="another server"):
        client.get("abc")


# --- errors


def test_error_carries_status_code_detail_and_faults() -> None:
    with FakeApi(answer(422, WRONG)).client as client, pytest.raises(ApiError) as caught:
        client.submit("mnist", {})
    error = caught.value
    assert (error.status, error.code, error.detail) == (422, "invalid_input", "2 faults")
    assert error.faults == (Fault("expected 28", "/input/x"), Fault("no"))
    assert not error.retryable


@pytest.mark.parametrize(
    ("response", "code", "detail"),
    [
        (httpx.Response(502, text="bad gateway, says the proxy"), "http_502", "bad gateway, says the proxy"),
        (httpx.Response(404), "http_404", "Not Found"),
        (answer(500, {"type": "about:blank", "title": "Oh"}), "http_500", "Oh"),
        (answer(500, ["list"]), "http_500", '["list"]'),
        (httpx.Response(307, headers={"Location": "/x"}), "http_307", "Temporary Redirect"),
    ],
)
def test_error_when_the_body_is_no_problem_is_still_told(response: httpx.Response, code: str, detail: str) -> None:
    with FakeApi(response).client as client, pytest.raises(ApiError) as caught:
        client.get("abc")
    assert (caught.value.code, caught.value.detail) == (code, detail)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def test_client_when_nobody_listens_names_the_address_and_the_remedy() -> None:
    with (
        Client("http://api:8000", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(ApiUnreachableError, match=r"no Ferry API answers at http://api:8000 .*ferry up"),
    ):
        client.get("abc")


def test_client_when_the_answer_does_not_come_says_how_long_it_waited() -> None:
    def stall(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with (
        Client(transport=httpx.MockTransport(stall)) as client,
        pytest.raises(ApiUnreachableError, match=f"no answer within {ANSWER_TIMEOUT_S:g} s"),
    ):
        client.get("abc")


# --- trying again


def test_submit_when_told_to_come_back_comes_back_then() -> None:
    prediction, calls = play(
        submit_flow("m", {}), answer(503, FULL, retry_after="2"), answer(429, {}, retry_after="3"), answer(202, WAITING)
    )
    assert prediction.id == "abc"
    assert [call.delay_s for call in calls] == [0, 2, 3]


def test_submit_when_told_to_come_back_much_later_comes_back_sooner() -> None:
    _, calls = play(submit_flow("m", {}), answer(503, FULL, retry_after="3600"), answer(202, WAITING))
    assert calls[1].delay_s == MAX_RETRY_AFTER_S


def test_submit_when_refused_again_and_again_gives_up() -> None:
    flow = submit_flow("m", {})
    next(flow)
    for _ in range(MAX_ATTEMPTS - 1):
        flow.send(answer(503, FULL, retry_after="0"))
    with pytest.raises(ApiError) as caught:
        flow.send(answer(503, FULL, retry_after="7"))
    assert (caught.value.code, caught.value.retry_after_s, caught.value.retryable) == ("queue_full", 7, True)


@pytest.mark.parametrize(
    "response",
    [
        answer(503, FULL),
        answer(500, {}, retry_after="1"),
        answer(503, FULL, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"),
    ],
)
def test_submit_when_not_told_when_to_come_back_fails_at_once(response: httpx.Response) -> None:
    flow = submit_flow("m", {})
    next(flow)
    with pytest.raises(ApiError):
        flow.send(response)


# --- waiting


def test_wait_asks_until_the_job_is_done() -> None:
    prediction, calls = play(wait_flow("abc", 100), answer(200, WAITING), answer(200, DONE))
    assert prediction.is_done
    assert [call.params["wait"] for call in calls] == ["60", "60"]
    assert [call.delay_s for call in calls] == [0, POLL_PAUSE_S]
    assert calls[0].timeout_s > 60


def test_wait_when_the_time_is_over_raises_and_names_the_job() -> None:
    clock = Clock()
    flow = wait_flow("abc", 90, clock)
    next(flow)
    clock.now_s += 60
    assert flow.send(answer(200, WAITING)).params["wait"] == "30"
    clock.now_s += 30
    with pytest.raises(WaitTimeoutError, match="prediction abc is still starting after 90 s"):
        flow.send(answer(200, WAITING))


def test_predict_when_the_job_is_quick_takes_one_request() -> None:
    prediction, calls = play(predict_flow("m", {}, 5), answer(201, DONE))
    assert prediction.has_succeeded
    assert calls[0].headers["Prefer"] == "wait=5"


def test_predict_when_the_server_stops_waiting_waits_on_by_id() -> None:
    clock = Clock()
    flow = predict_flow("m", {}, 90, clock)
    next(flow)
    clock.now_s += 60
    call = flow.send(answer(202, WAITING))
    assert (call.method, call.path, call.params["wait"]) == ("GET", "/v1/predictions/abc", "30")


def test_predict_when_the_job_failed_returns_it() -> None:
    failed = DONE | {"status": "failed", "output": None, "error": "no", "error_code": "model_error"}
    prediction, _ = play(predict_flow("m", {}, 5), answer(201, failed))
    assert (prediction.is_done, prediction.has_succeeded, prediction.error_code) == (True, False, "model_error")


# --- both clients carry the same flows

Method = Callable[[Any], Any]
EACH_METHOD = pytest.mark.parametrize(
    ("body", "call"),
    [
        (WAITING, lambda client: client.submit("m", {"x": 1})),
        (DONE, lambda client: client.get("abc")),
        (DONE, lambda client: client.wait("abc", 1)),
        (DONE, lambda client: client.predict("m", {"x": 1}, 1)),
        ({"results": []}, lambda client: client.models()),
    ],
)


@EACH_METHOD
def test_both_clients_send_and_return_the_same(body: dict[str, Any], call: Method) -> None:
    blocking_api, async_api = FakeApi(answer(200, body)), FakeApi(answer(200, body))
    with blocking_api.client as client:
        expected = call(client)

    async def run() -> Any:
        async with AsyncClient("http://api:8000", transport=httpx.MockTransport(async_api)) as client:
            return await call(client)

    assert asyncio.run(run()) == expected
    (one,), (other,) = blocking_api.requests, async_api.requests
    assert (one.method, one.url, one.content) == (other.method, other.url, other.content)


@EACH_METHOD
def test_async_client_when_nobody_listens_says_so(body: dict[str, Any], call: Method) -> None:
    async def run() -> None:
        async with AsyncClient(transport=httpx.MockTransport(refuse)) as client:
            await call(client)

    with pytest.raises(ApiUnreachableError):
        asyncio.run(run())


def test_async_client_never_has_more_requests_under_way_than_allowed() -> None:
    under_way = most = 0

    async def serve(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return answer(200, DONE)

    async def run() -> list[Prediction]:
        async with AsyncClient(max_in_flight=3, transport=httpx.MockTransport(serve)) as client:
            return await asyncio.gather(*(client.get("abc") for _ in range(20)))

    assert len(asyncio.run(run())) == 20
    assert most == 3


@pytest.mark.parametrize(
    "value",
    [[1.0, float("inf")], [[np.float32("-inf")]], np.array([1, np.inf], np.float32), np.array([1.0, np.inf], object)],
)
def test_submit_when_an_input_holds_an_infinity_then_refused_and_not_sent_as_missing(value: object) -> None:
    with pytest.raises(InvalidInputError, match="inputs hold an infinity, which JSON cannot"):
        next(submit_flow("mnist", {"x": value}))


def test_submit_when_an_input_holds_nan_none_or_the_word_null_then_sent() -> None:
    body = orjson.loads(next(submit_flow("m", {"x": [float("nan"), None], "s": "null"})).content)
    assert body["input"] == {"x": [None, None], "s": "null"}
