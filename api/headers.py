"""A request's headers as a dictionary: each look-up in Starlette's own costs a walk through the list."""

from fastapi import Request
from starlette.types import Scope

# A request's scope keeps its headers under this name, once somebody asked for them.
_HEADERS = "ferry.headers"


def headers_of(request: Request) -> dict[str, str]:
    """Return header values by lower-case name; what was sent in several lines is joined (RFC 9110, section 5.3)."""
    return headers_in(request.scope)


def headers_in(scope: Scope) -> dict[str, str]:
    """Return the headers in a request's scope, as `headers_of`."""
    known: dict[str, str] | None = scope.get(_HEADERS)
    if known is not None:
        return known
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}  # joined once: a name in 10,000 lines would be copied as often
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            repeated.setdefault(name, [headers[name]]).append(value)
        else:
            headers[name] = value
    headers.update((name, ", ".join(values)) for name, values in repeated.items())
    scope[_HEADERS] = headers
    return headers
