"""What every operation may answer before a route is asked: the limits of a connection (docs/operations.md)."""

from typing import Any

from api.openapi.parts import PROBLEM

# They come before the path is read, so they have no `instance`.
_PROBLEM = {**PROBLEM, "required": [name for name in PROBLEM["required"] if name != "instance"]}
_ANSWERS = {
    "400": "Not HTTP/1.1 as it should be",
    "408": "Head or body came too slowly",
    "414": "Path and query are too long",
    "431": "Request line and headers are too large",
    "501": "A Transfer-Encoding beside chunked",
}


def with_connections(schema: dict[str, Any]) -> dict[str, Any]:
    """Add to a whole OpenAPI document what any request may be answered whose HTTP is too large, too slow or wrong."""
    content = {"application/problem+json": {"schema": _PROBLEM}}
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, description in _ANSWERS.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
    return schema
