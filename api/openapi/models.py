"""Models: /v1/models, and /v2/repository."""

from typing import Any

from api.openapi.parts import NULLABLE_STRING, STRING, TENSORS, answer, listing, problems

_MODEL = {
    "type": "object",
    "required": ["id", "object", "name", "owner", "latest_version", "versions"],
    "properties": {
        "id": STRING,
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": STRING,
        "owner": STRING,
        "name": STRING,
        "description": STRING,
        "latest_version": {"type": "object"},
        "aliases": {"type": "object", "additionalProperties": STRING},
        "versions": {"type": "array", "items": {"type": "object"}},
    },
}
MODELS: dict[int | str, dict[str, Any]] = {
    200: answer(
        "All models",
        listing(_MODEL, results={"type": "array", "items": _MODEL}),
    )
}
MODEL: dict[int | str, dict[str, Any]] = {200: answer("The model", _MODEL), **problems(404, 422)}
EXAMPLES: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Rows",
        listing(
            {
                "type": "object",
                "required": ["input", "truth"],
                "properties": {"input": TENSORS, "truth": NULLABLE_STRING},
            },
            model=STRING,
            version=STRING,
            made_up={"type": "boolean", "description": "from the signature; else real rows"},
        ),
    ),
    **problems(404, 422),
}
INDEX_BODY = {
    "requestBody": {
        "content": {"application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}
    }
}
INDEX: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Every version",
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "version", "state", "reason"],
                "properties": {
                    "name": STRING,
                    "version": STRING,
                    "state": {"enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]},
                    "reason": STRING,
                },
            },
        },
    ),
    **problems(400, 413, 422),
}
LOAD_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"parameters": {"type": "object", "properties": {"version": STRING}}},
                }
            }
        }
    }
}
LOADED: dict[int | str, dict[str, Any]] = {200: {"description": "Done"}, **problems(400, 404, 413, 422, 503)}
