"""The few routes that carry the load, served without FastAPI's per-request machinery.

They are ordinary routes: the same functions are registered with FastAPI, which documents them and serves whatever does
not match here exactly. A third of a small request's time in the API process went into matching, dependency and
exit-stack layers that a function of one raw Request does not use (docs/design.md).
"""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.access import Gate
from api.headers import headers_of
from api.problems import handle_bug, handle_disconnect, handle_ferry_error
from api.routes.infer import infer
from api.routes.predict import predict
from api.routes.predictions import create_prediction, get_prediction
from api.services import CALLER
from ferry.errors import FerryError

Handler = Callable[[Request], Awaitable[Response]]

_EXACT: dict[tuple[str, str], Handler] = {
    ("POST", "/v1/predictions"): create_prediction,
    ("POST", "/predict"): predict,
}
_JOB = "/v1/predictions/"
_MODEL, _INFER = "/v2/models/", "/infer"


class FastApp(FastAPI):
    """FastAPI with a shortcut for the routes above."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and (refused := await self._admit(scope, receive, send)):
            await refused(scope, receive, send)
            return
        handler = _handler_of(scope) if scope["type"] == "http" else None
        if handler is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        request = Request(scope, receive, send)
        response = await _answer(handler, request)
        await response(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Find out who asks; returns the answer where he may not."""
        gate: Gate = self.state.services.gate
        if gate.is_open:
            return None
        scope["app"] = self
        request = Request(scope, receive, send)
        try:
            scope[CALLER] = await gate.admit(scope["method"], scope["path"], headers_of(request))
        except FerryError as error:
            return await handle_ferry_error(request, error)
        return None


def _handler_of(scope: Scope) -> Handler | None:
    """Return the handler of a request that matches exactly; None leaves it to FastAPI."""
    path: str = scope["path"]
    if scope.get("root_path"):
        return None
    method = scope["method"]
    if handler := _EXACT.get((method, path)):
        return handler
    if method == "GET" and path.startswith(_JOB):
        job_id = path.removeprefix(_JOB)
        if job_id and "/" not in job_id:
            return lambda request: get_prediction(request, job_id)
    if method == "POST" and path.startswith(_MODEL) and path.endswith(_INFER):
        name = path[len(_MODEL) : -len(_INFER)]
        if name and "/" not in name:
            return lambda request: infer(request, name)
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
