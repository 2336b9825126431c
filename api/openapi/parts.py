"""What the descriptions of several routes share: kinds of values, problems, headers."""

from typing import Any

STRING = {"type": "string"}
NULLABLE_STRING = {"type": ["string", "null"]}
NULLABLE_INTEGER = {"type": ["integer", "null"]}
NULLABLE_NUMBER = {"type": ["number", "null"]}
TENSORS = {
    "description": (
        "A value for each input of the model, by its name: nested lists in the model's own layout, a bare value for a "
        "tensor without axes. A single row may leave the batch axis out. A model with one input takes the bare value. "
        "An input with one element in each row needs no inner lists: `30`, `[30, 40]`. Models whose inputs have their "
        'rows first take a list of rows: `[{"age": 30}, {"age": 40}]`. null is a missing value; what becomes of it is '
        "`missing` of the input in /v1/models"
    ),
    "anyOf": [
        {"type": "object", "additionalProperties": True},
        {"type": "array"},
        {"type": ["number", "string", "boolean"]},
    ],
}
REFERENCE: dict[str, Any] = {
    "model": {
        "type": "string",
        "minLength": 1,
        "description": "model, or model:version; `version` may say the version",
    },
    "version": {
        "type": ["string", "integer", "null"],
        "description": "model, or model:version; beside `model` a version or an alias of it",
    },
}
# One of the two must be there.
NAMED = [{"required": ["model"]}, {"required": ["version"]}]
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "error"],
    "properties": {
        "type": STRING,
        "title": STRING,
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, the limit and the remedy"},
        "instance": STRING,
        "code": {"type": "string", "description": "stable, for programs"},
        "error": STRING,
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"detail": STRING, "pointer": STRING}},
        },
    },
}
REASONS = {
    400: "Not JSON",
    404: "No such thing",
    413: "Body too large",
    415: "Not a JSON content type",
    409: "Not in this state; the detail says what to do first",
    416: "No byte of the file is in the range",
    422: "Does not fit the model",
    500: "The job failed",
    503: "Queue full or Redis away; see Retry-After",
    504: "Not done in time; the job goes on",
}


def answer(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an answer of JSON."""
    told: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return told | ({"headers": headers} if headers else {})


def listing(items: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a list of such items, with fields beside it."""
    return {
        "type": "object",
        "required": ["object", "data", *others],
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": items}, **others},
    }


def page(items: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page of such items, as OpenAI's clients turn it."""
    return listing(items, first_id=NULLABLE_STRING, last_id=NULLABLE_STRING, has_more={"type": "boolean"})


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors that a route may answer, as problem+json."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    return {status: {"description": REASONS[status], "content": content} for status in statuses}


def json_body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Return a body of JSON that must be sent."""
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


HEADER = {"schema": {"type": "string"}}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters; the same key and body again is the same job, while it is kept",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
TERMS: list[dict[str, Any]] = [
    {
        "name": "Priority",
        "in": "header",
        "required": False,
        "description": "RFC 9218: `u=0` to 2 goes first, 3 to 5 is normal, 6 and 7 is bulk; all keep a share",
        "schema": {"type": "string"},
    },
]
# Errors of the OpenAI routes: `error` is the object that its clients read.
OPENAI_PROBLEM = PROBLEM | {
    "properties": PROBLEM["properties"]
    | {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": STRING, "type": STRING, "param": NULLABLE_STRING, "code": STRING},
        }
    }
}
OPENAI_REASONS = {
    400: "Cannot be read, or a field is wrong",
    404: "No such file",
    413: "File too large",
    415: "Not a form with parts",
    416: REASONS[416],
    # FastAPI documents its own body for routes with parameters, unless they name the status themselves.
    422: "Not answered here; 400 is",
    503: "Redis or the storage is away or full; see Retry-After",
}


def openai_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors that a route of OpenAI's may answer."""
    content = {"application/problem+json": {"schema": OPENAI_PROBLEM}}
    return {status: {"description": OPENAI_REASONS[status], "content": content} for status in statuses}
