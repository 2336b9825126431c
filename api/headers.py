"""A request's headers as a dictionary: each look-up in Starlette's own costs a walk through the list."""

from fastapi import Request


def headers_of(request: Request) -> dict[str, str]:
    """Return header values by lower-case name; what was sent in several lines is joined (RFC 9110, section 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
