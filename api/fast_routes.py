"""The few routes that carry the load, served without FastAPI's per-request machinery.

They are ordinary routes: the same functions are registered with FastAPI, which documents them and serves whatever does
not match here exactly. A third of a small request's time in the API process went into matching, dependency and
exit-stack layers that a function of one raw Request does not use (docs/design.md).
"""

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from api.cors import with_cors
from api.openapi.access import with_access
from api.openapi.connections import with_connections
from api.problems import handle_bug, handle_disconnect, handle_ferry_error
from api.routes.infer import infer
from api.routes.predict import predict
from api.routes.predictions import create_prediction, get_prediction
from api.services import Services
from ferry.errors import FerryError

Handler = Callable[[Request], Awaitable[Response]]

_EXACT: dict[tuple[str, str], Handler] = {
    ("POST", "/v1/predictions"): create_prediction,
    ("POST", "/predict"): predict,
}
_JOB = "/v1/predictions/"
_MODEL, _INFER = "/v2/models/", "/infer"


class FastApp(FastAPI):
    """FastAPI with a shortcut for the routes above, and every request through the door."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        await self.entrance(scope, receive, send)

    @cached_property
    def entrance(self) -> ASGIApp:
        """What every request enters by: CORS where a setting asks for it, then the door."""
        services: Services = self.state.services
        origins = services.settings.cors_origins
        return with_cors(self._enter, origins) if origins else self._enter

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        services: Services = self.state.services
        services.addresses.enter(scope)
        await services.door.pass_through(scope, receive, send, self._serve)

    def openapi(self) -> dict[str, Any]:
        """Return the API's description, with which operations take an API key and what any may answer."""
        if self.openapi_schema is None:
            self.openapi_schema = with_connections(with_access(super().openapi()))
        return self.openapi_schema

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Serve one request; returns its route's path as it is documented, or nothing."""
        found = _handler_of(scope)
        if found is None:
            await super().__call__(scope, receive, send)
            return getattr(scope.get("route"), "path", "")
        handler, path = found
        request = Request(scope, receive, send)
        response = await _answer(handler, request)
        await response(scope, receive, send)
        return path


def _handler_of(scope: Scope) -> tuple[Handler, str] | None:
    """Return the handler of a request that matches exactly, and its documented path; None leaves it to FastAPI."""
    path: str = scope["path"]
    if scope.get("root_path"):  # mounted below another application
        return None
    method = scope["method"]
    if handler := _EXACT.get((method, path)):
        return handler, path
    if method == "GET" and path.startswith(_JOB):
        job_id = path.removeprefix(_JOB)
        if job_id and "/" not in job_id:
            return (lambda request: get_prediction(request, job_id)), "/v1/predictions/{job_id}"
    if method == "POST" and path.startswith(_MODEL) and path.endswith(_INFER):
        name = path[len(_MODEL) : -len(_INFER)]
        if name and "/" not in name:
            return (lambda request: infer(request, name)), "/v2/models/{name}/infer"
    return None


async def _answer(handler: Handler, request: Request) -> Response:
    """Call a handler, its errors answered as FastAPI's handlers answer them."""
    try:
        return await handler(request)
    except FerryError as error:
        return await handle_ferry_error(request, error)
    except ClientDisconnect as error:
        return await handle_disconnect(request, error)
    except Exception as error:  # noqa: BLE001  the request's edge; logged with its traceback
        return await handle_bug(request, error)
