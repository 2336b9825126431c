"""Errors on the wire: RFC 9457 problem+json with Ferry's extras. The one place where HTTP statuses stand."""

import logging
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.access import HeldError
from api.addresses import public_path
from api.context import context_of
from ferry.errors import FerryError, RateLimitedError, ReusedError

PROBLEM_JSON = "application/problem+json"
PROBLEM_TYPES = "urn:ferry:problem:"

_STATUS = {
    "invalid_input": HTTPStatus.UNPROCESSABLE_ENTITY,
    "malformed_request": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "reused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "queue_full": HTTPStatus.SERVICE_UNAVAILABLE,
    "queue_draining": HTTPStatus.SERVICE_UNAVAILABLE,
    "queue_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "redis_unsafe": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "server_busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "no_worker": HTTPStatus.SERVICE_UNAVAILABLE,
    "wait_timeout": HTTPStatus.GATEWAY_TIMEOUT,
    "shutting_down": HTTPStatus.SERVICE_UNAVAILABLE,
    "model_error": HTTPStatus.INTERNAL_SERVER_ERROR,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body_timeout": HTTPStatus.REQUEST_TIMEOUT,
    "unsupported_media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
_OPENAI_PATHS = ("/v1/files", "/v1/batches")
_VERBS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
# Seconds to suggest where the error does not know better.
_DEFAULT_RETRY_AFTER_S = 1
# An answer does not grow with the mistakes and names in a request. The longest detail of ours, with a model's inputs
# spelled out, has some 1,000 characters.
MAX_FAULTS = 20
MAX_DETAIL_CHARS = 4000
MAX_POINTER_CHARS = 300

logger = logging.getLogger(__name__)


class BodyTooLargeError(FerryError):
    """The request's body is over the limit."""

    code = "body_too_large"
    title = "Body too large"


class BodyTooSlowError(FerryError):
    """The request's body is large, and comes too slowly to be held so long."""

    code = "body_timeout"
    title = "Body too slow"


class UnsupportedMediaTypeError(FerryError):
    """The request's body is of a type this route does not read."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


def problem(
    request: Request, status: int, *, code: str, title: str, detail: str, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return the members of a problem body.

    `error` is the message, as /v2 has it; where OpenAI's clients ask it is the object that those read.
    """
    detail = _cut(detail, MAX_DETAIL_CHARS)
    body: dict[str, Any] = {
        "type": PROBLEM_TYPES + code.replace("_", "-"),
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": public_path(request, request.url.path),
        "code": code,
        "error": detail,
    }
    if errors:
        body["errors"] = [
            {"detail": _cut(each["detail"], MAX_DETAIL_CHARS), "pointer": _cut(each["pointer"], MAX_POINTER_CHARS)}
            for each in errors[:MAX_FAULTS]
        ]
    if _is_openai(request):
        kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        param = body["errors"][0]["pointer"] if errors else None
        body["error"] = {"message": detail, "type": kind, "param": param, "code": code}
    return body


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[:max_chars]}..."


def _is_openai(request: Request) -> bool:
    return request.url.path.startswith(_OPENAI_PATHS)


def status_of(error: FerryError) -> int:
    """Return the HTTP status of an error of ours."""
    return int(_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR))


def render(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return the response of a problem."""
    return Response(orjson.dumps(body), body["status"], headers, media_type=PROBLEM_JSON)


async def handle_ferry_error(request: Request, error: Exception) -> Response:
    """Answer an error of Ferry's own tree."""
    if not isinstance(error, FerryError):
        raise TypeError(f"registered for FerryError, got {type(error).__name__}")
    _note(request, error)
    status = status_of(error)
    is_unfit = status == HTTPStatus.UNPROCESSABLE_ENTITY and error.code != ReusedError.code
    if is_unfit and request.url.path.startswith(("/v2/", *_OPENAI_PATHS)):
        status = int(HTTPStatus.BAD_REQUEST)  # those protocols' status for what does not fit
    errors = [{"detail": fault.detail, "pointer": fault.pointer} for fault in error.faults]
    headers = {}
    if status in _RETRIED or error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s or _DEFAULT_RETRY_AFTER_S)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="ferry"'
    if status == HTTPStatus.CONFLICT:
        headers["x-should-retry"] = "false"  # OpenAI's client would ask again
    body = problem(request, status, code=error.code, title=error.title, detail=error.detail, errors=errors)
    return render(body, headers)


def _note(request: Request, error: FerryError) -> None:
    """Count a refusal, and let a key wait that the queue found over its limits."""
    services = getattr(request.app.state, "services", None) if "app" in request.scope else None
    if services is None:
        return
    services.door.meter.refused(error)
    context = context_of(request)
    if isinstance(error, HeldError):
        context.left = error.left
    elif context.caller.key and isinstance(error, RateLimitedError):
        services.door.gate.hold(context.caller.key, error, context.left)


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: an unknown path, a wrong verb."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"registered for HTTPException, got {type(error).__name__}")
    status = HTTPStatus(error.status_code)
    detail = str(error.detail)
    path, docs = (public_path(request, each) for each in (request.url.path, "/docs"))
    if status == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {path}; see {docs}"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not allowed at {path}; see {docs}"
    code = status.phrase.lower().replace(" ", "_")
    body = problem(request, status, code=code, title=status.phrase, detail=detail)
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_verbs_at(request)) or headers.get("Allow", "")
    return render(body, headers)


def _verbs_at(request: Request) -> list[str]:
    """Return every verb of a path; Starlette itself names those of the first route that has it."""
    routes = request.app.routes if "app" in request.scope else ()
    asked = {verb: {**request.scope, "method": verb} for verb in _VERBS}
    return [verb for verb in _VERBS if any(route.matches(asked[verb])[0] is Match.FULL for route in routes)]


async def handle_validation_error(request: Request, error: Exception) -> Response:
    """Answer a bad path or query parameter."""
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"registered for RequestValidationError, got {type(error).__name__}")
    faults = error.errors()[:MAX_FAULTS]
    errors = [{"detail": fault["msg"], "pointer": "/".join(map(str, fault["loc"]))} for fault in faults]
    detail = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in errors)
    status = HTTPStatus.BAD_REQUEST if _is_openai(request) else HTTPStatus.UNPROCESSABLE_ENTITY
    return render(problem(request, status, code="invalid_input", title="Invalid input", detail=detail, errors=errors))


async def handle_disconnect(request: Request, error: Exception) -> Response:
    """Answer nobody: the client went away in the middle of its body, which is no fault of ours."""
    logger.debug("%s %s: %s", request.method, request.url.path, type(error).__name__)
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def handle_bug(request: Request, error: Exception) -> Response:
    """Answer what should not happen; the log has the traceback, the client a promise that it was noted."""
    with structlog.contextvars.bound_contextvars(request_id=context_of(request).origin.request_id):
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "an error in Ferry itself; it is in the API's log"
    return render(problem(request, status, code="internal", title="Internal error", detail=detail))


def install_handlers(app: FastAPI) -> None:
    """Make every error that leaves `app` a problem body; a handler that is no coroutine would cost a thread."""
    app.add_exception_handler(FerryError, handle_ferry_error)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(ClientDisconnect, handle_disconnect)
    app.add_exception_handler(Exception, handle_bug)
