"""The door every request comes in and every answer goes out by: ids, keys, safe headers, counts, the log's line."""

import time
from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.types import Message, Receive, Scope, Send

from api.access import Gate
from api.context import ANSWERED_STATUS, CONTEXT, Context
from api.headers import headers_in
from api.meter import Meter
from api.problems import handle_ferry_error
from api.rate_limit_headers import left_header, policy_header
from ferry.errors import FerryError
from ferry.log_text import clean_text
from ferry.logs import EventLog
from ferry.origins import origin_from_headers

_SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
# What the OWASP REST Security Cheat Sheet asks of answers that are data.
_OF_DATA = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# The page runs its own files alone, speaks to its own API alone, and makes no text into markup (Trusted Types).
_OF_PAGE = (
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        b"trusted-types 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
# Swagger UI makes markup of its own (so no Trusted Types), and its style sheet holds images.
_OF_DOCS = (
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
# Asked for every few seconds by machines; a line says something where it fails.
_ROUTINE = frozenset({"/v2/health/live", "/v2/health/ready", "/metrics"})

# Characters of a path in the log. The log's patterns are tried on all of it, and a path may have 8 KiB.
MAX_PATH = 512

Serve = Callable[[Scope, Receive, Send], Awaitable[str]]


class Door:
    """Lets requests in and answers out; one per process."""

    def __init__(
        self, gate: Gate, meter: Meter, log: EventLog | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`log` None: no line per request."""
        self.gate = gate
        self.meter = meter
        self._log = log
        self._clock = clock

    async def pass_through(self, scope: Scope, receive: Receive, send: Send, serve: Serve) -> None:
        """Serve one request with `serve`, which returns the route's path as it is documented."""
        started = self._clock()
        headers = headers_in(scope)
        get = headers.get
        asked_id = get("x-request-id")
        origin = origin_from_headers(asked_id, get("traceparent"), get("tracestate"))
        context = scope[CONTEXT] = Context(origin, has_own_id=origin.request_id == asked_id)
        route = ""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_added(scope, context)]
            await send(message)

        try:
            if not await self._is_refused(scope, receive, send_on, context):
                route = await serve(scope, receive, send_on)
        finally:
            seconds = self._clock() - started
            context.status = scope.get(ANSWERED_STATUS, context.status)
            self.meter.saw(scope["method"], route, context.status, seconds)
            if self._log and (scope["path"] not in _ROUTINE or context.status >= 400):
                self._log_line(scope, context, seconds)

    async def _is_refused(self, scope: Scope, receive: Receive, send: Send, context: Context) -> bool:
        """Find out who asks; answers where he may not."""
        if self.gate.is_open:
            return False
        try:
            headers = headers_in(scope)
            await self.gate.admit(scope["method"], scope["path"], headers, on_known=context.identify)
        except FerryError as error:
            request = Request(scope, receive, send)
            await (await handle_ferry_error(request, error))(scope, receive, send)
            return True
        return False

    def _log_line(self, scope: Scope, context: Context, seconds: float) -> None:
        if self._log is None:
            return
        origin, key, path = context.origin, context.caller.key, scope["path"]
        path = path if len(path) <= MAX_PATH else clean_text(path[: 2 * MAX_PATH], MAX_PATH)
        fields: dict[str, object] = {
            "request_id": origin.request_id, "trace_id": origin.trace_id, "method": scope["method"],
            "path": path, "client": (scope.get("client") or ("",))[0], "status": context.status,
            "ms": round(seconds * 1000, 2),
        }  # fmt: skip
        if context.work_id:
            fields["id"] = context.work_id
        if key:
            fields |= {"key_id": key.id, "owner": key.owner}
        self._log("request", fields)


def _added(scope: Scope, context: Context) -> list[tuple[bytes, bytes]]:
    own = [(b"x-request-id", context.origin.request_id.encode("latin-1"))]
    if limits := context.limits:
        own.append(policy_header(limits))
    if context.left:
        own.append(left_header(context.left))
    path: str = scope["path"]
    if path == "/" or path.startswith("/static/"):
        return [*own, *_SAFETY, *_OF_PAGE]
    return [*own, *_SAFETY, *(_OF_DOCS if path == "/docs" else _OF_DATA)]
