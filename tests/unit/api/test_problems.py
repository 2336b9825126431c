import logging

import orjson
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api import problems
from api.access import HeldError
from api.problems import (
    handle_bug,
    handle_disconnect,
    handle_ferry_error,
    handle_http_error,
    handle_validation_error,
    install_handlers,
    status_of,
)
from api.submission import JobFailedError
from ferry import errors
from ferry.errors import Fault, FerryError, InvalidInputError, QueueFullError, QueueUnavailableError, WaitTimeoutError

pytestmark = pytest.mark.anyio

STATUSES = {
    InvalidInputError: 422,
    errors.MalformedRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.ReusedError: 422,
    errors.RateLimitedError: 429,
    HeldError: 429,
    QueueFullError: 503,
    errors.QueueDrainingError: 503,
    QueueUnavailableError: 503,
    errors.StorageError: 503,
    errors.UnsafeRedisError: 503,
    errors.ServerBusyError: 503,
    errors.NoWorkerError: 503,
    WaitTimeoutError: 504,
    errors.ShuttingDownError: 503,
    errors.ModelError: 500,
    errors.ModelRefusedError: 500,
    errors.ConfigError: 500,
    problems.BodyTooLargeError: 413,
    problems.BodyTooSlowError: 408,
    problems.UnsupportedMediaTypeError: 415,
    JobFailedError: 500,
    FerryError: 500,
}


def request(path: str = "/v1/predictions") -> Request:
    return Request({"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"secret=1"})


def everyone(error: type[FerryError]) -> list[type[FerryError]]:
    return [error, *(each for child in error.__subclasses__() for each in everyone(child))]


def test_status_of_when_the_error_is_in_the_tree_then_the_agreed_status() -> None:
    ours = {each for each in everyone(FerryError) if each.__module__.startswith(("api.", "ferry.errors"))}
    assert ours == set(STATUSES)
    assert {each: status_of(each("no")) for each in ours} == STATUSES


def test_status_of_when_an_error_is_worth_a_retry_then_the_status_says_so() -> None:
    assert all((status_of(each("no")) in {429, 503, 504}) is each.retryable for each in STATUSES)


async def test_handle_ferry_error_when_it_has_faults_then_each_stands_with_its_pointer() -> None:
    error = InvalidInputError("two faults", faults=(Fault("one", "#/a"), Fault("two", "#/b/0")))
    response = await handle_ferry_error(request(), error)
    assert response.status_code == 422
    assert response.media_type == "application/problem+json"
    assert "retry-after" not in response.headers
    assert orjson.loads(response.body) == {
        "type": "urn:ferry:problem:invalid-input",
        "title": "Invalid input",
        "status": 422,
        "detail": "two faults",
        "instance": "/v1/predictions",
        "code": "invalid_input",
        "error": "two faults",
        "errors": [{"detail": "one", "pointer": "#/a"}, {"detail": "two", "pointer": "#/b/0"}],
    }


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (QueueFullError("full", retry_after_s=5), "5"),
        (QueueUnavailableError("away"), "1"),
        (WaitTimeoutError("late"), "1"),
        (InvalidInputError("no", retry_after_s=3), "3"),
    ],
)
async def test_handle_ferry_error_when_a_retry_is_worth_it_then_whole_seconds(
    error: FerryError, retry_after: str
) -> None:
    response = await handle_ferry_error(request(), error)
    assert response.headers["retry-after"] == retry_after


async def test_handle_http_error_when_the_router_refuses_then_its_headers_stay() -> None:
    response = await handle_http_error(request(), HTTPException(405, headers={"Allow": "GET"}))
    body = orjson.loads(response.body)
    assert (response.status_code, body["code"], response.headers["allow"]) == (405, "method_not_allowed", "GET")
    assert body["detail"] == "POST is not allowed at /v1/predictions; see /docs"


async def test_handle_http_error_when_it_is_another_then_its_own_detail() -> None:
    response = await handle_http_error(request(), HTTPException(418, "no coffee"))
    body = orjson.loads(response.body)
    assert (body["status"], body["detail"]) == (418, "no coffee")


async def test_handle_validation_error_when_parameters_are_bad_then_each_is_named() -> None:
    fault = {"type": "int_parsing", "loc": ("query", "limit"), "msg": "not a number", "input": "x"}
    response = await handle_validation_error(request(), RequestValidationError([fault]))
    body = orjson.loads(response.body)
    assert (response.status_code, body["code"], body["detail"]) == (422, "invalid_input", "query/limit: not a number")
    assert body["errors"] == [{"detail": "not a number", "pointer": "query/limit"}]


async def test_handle_bug_when_called_then_the_traceback_is_logged_and_not_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await handle_bug(request(), ZeroDivisionError("secret"))
    assert response.status_code == 500
    assert b"secret" not in response.body
    assert "POST /v1/predictions failed" in caplog.text
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("handler", [handle_ferry_error, handle_http_error, handle_validation_error])
async def test_handler_when_given_another_error_then_a_type_error(handler) -> None:
    with pytest.raises(TypeError, match="got KeyError"):
        await handler(request(), KeyError("x"))


def test_install_handlers_when_installed_then_fastapis_own_answers_are_all_replaced() -> None:
    app = FastAPI()
    install_handlers(app)
    ours = {
        FerryError: handle_ferry_error,
        HTTPException: handle_http_error,
        RequestValidationError: handle_validation_error,
        ClientDisconnect: handle_disconnect,
        Exception: handle_bug,
    }
    assert {key: app.exception_handlers[key] for key in ours} == ours


async def test_handle_ferry_error_when_the_detail_and_the_pointer_are_long_then_the_answer_is_short() -> None:
    faults = tuple(Fault("d" * 10_000, "#/" + "p" * 100_000) for _ in range(100))
    response = await handle_ferry_error(request(), InvalidInputError("d" * 1_000_000, faults=faults))
    body = orjson.loads(response.body)
    assert len(body["errors"]) == problems.MAX_FAULTS
    assert len(response.body) < 200_000
    assert body["detail"].endswith("d...")


async def test_handle_validation_error_when_there_are_many_faults_then_the_first_ones() -> None:
    faults = [{"loc": ("query", "id", place), "msg": "wrong"} for place in range(1000)]
    response = await handle_validation_error(request(), RequestValidationError(faults))
    assert len(orjson.loads(response.body)["errors"]) == problems.MAX_FAULTS
