"""Erasing an owner: DELETE /v1/owners/{owner}."""

from typing import Any

from api.openapi.parts import STRING, answer, problems

_NUMBER = {"type": "integer", "description": "erased, or to be erased"}
_ERASURE = {
    "type": "object",
    "required": ["object", "owner", "dry_run", "keys", "jobs", "dead_letters", "batches", "files"],
    "properties": {
        "object": {"const": "erasure"},
        "owner": STRING,
        "dry_run": {"type": "boolean"},
        "keys": _NUMBER,
        "jobs": _NUMBER,
        "dead_letters": {"type": "integer", "description": "of the jobs"},
        "batches": _NUMBER,
        "files": _NUMBER,
    },
}
ERASED: dict[int | str, dict[str, Any]] = {200: answer("What was erased", _ERASURE), **problems(404, 409, 422, 503)}
