"""Jobs: /v1/predictions, /predict, /v1/dead-letters."""

from typing import Any

from api.openapi.parts import (
    HEADER,
    IDEMPOTENCY_KEY,
    NAMED,
    NULLABLE_STRING,
    REFERENCE,
    STRING,
    TENSORS,
    TERMS,
    answer,
    json_body,
    listing,
    problems,
)

_NULLABLE_TIME = {"type": ["string", "null"], "format": "date-time"}
_PREDICTION = {
    "type": "object",
    "required": ["id", "model", "version", "status", "state", "input", "output", "error", "created_at", "urls"],
    "properties": {
        "id": STRING,
        "model": STRING,
        "version": STRING,
        "status": {"enum": ["starting", "processing", "succeeded", "failed", "canceled"]},
        "state": {"enum": ["queued", "running", "succeeded", "failed", "canceled"]},
        "input": {
            "type": ["object", "null"],
            "description": "echoed while the job holds it (up to 16 KiB); deleted once it is done",
        },
        "output": {
            "type": ["object", "null"],
            "description": "nested lists by output name; NaN and infinities are null",
        },
        "output_shapes": {
            "type": ["object", "null"],
            "description": "sizes of the axes by output name, where each job is a run of its own; else null",
            "additionalProperties": {"type": "array", "items": {"type": "integer"}},
        },
        "labels": {"description": "the label of the highest score, per row", "type": ["string", "array", "null"]},
        "error": NULLABLE_STRING,
        "error_code": NULLABLE_STRING,
        "replay_of": {"type": ["string", "null"], "description": "the dead letter whose input this job has"},
        "logs": STRING,
        "rows": {"type": "integer"},
        "attempts": {"type": "integer"},
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": _NULLABLE_TIME,
        "completed_at": _NULLABLE_TIME,
        "deadline": _NULLABLE_TIME,
        "metrics": {
            "type": "object",
            "properties": {"predict_time": {"type": "number"}, "total_time": {"type": "number"}},
            "description": "seconds",
        },
        "batch": {
            "type": ["object", "null"],
            "properties": {
                "id": {"type": "string", "description": "`<ticket>.<n>`; the ticket is a task in Flower"},
                "rows": {"type": "integer"},
                "jobs": {"type": "integer"},
                "wait_ms": {"type": "number"},
                "url": {"type": "string", "description": "the ticket's page in Flower"},
            },
        },
        "data_removed": {"type": "boolean"},
        "urls": {"type": "object", "properties": {"get": STRING, "cancel": STRING}},
    },
}
_WAITING: list[dict[str, Any]] = [
    {
        "name": "wait",
        "in": "query",
        "required": False,
        "description": "answer when the job is done, or after this many seconds",
        "schema": {"type": "number", "minimum": 0, "maximum": 60},
    },
    {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`wait`, `wait=n` (1 to 60 seconds) or `respond-async`",
        "schema": {"type": "string"},
    },
]
WAIT = {"parameters": _WAITING}
PREDICTION_BODY = {
    "parameters": [*_WAITING, *TERMS, IDEMPOTENCY_KEY],
    "requestBody": json_body(
        {
            "type": "object",
            "required": ["input"],
            "anyOf": NAMED,
            "additionalProperties": False,
            "properties": {
                **REFERENCE,
                "input": TENSORS,
            },
        },
        {"version": "mnist", "input": {"x": [[0.0] * 28] * 28}},
    ),
}
PREDICTION_CREATED: dict[int | str, dict[str, Any]] = {
    201: answer("Done within the time you would wait", _PREDICTION, {"Location": HEADER, "Preference-Applied": HEADER}),
    202: answer("Accepted", _PREDICTION, {"Location": HEADER, "Retry-After": HEADER}),
    **problems(400, 404, 413, 415, 422, 503),
}
PREDICTION: dict[int | str, dict[str, Any]] = {200: answer("The job", _PREDICTION), **problems(404, 422, 503)}
MANY_BODY = {
    "parameters": TERMS,
    "requestBody": json_body(
        {
            "type": "object",
            "required": ["inputs"],
            "anyOf": NAMED,
            "additionalProperties": False,
            "properties": {
                **REFERENCE,
                "inputs": {"type": "array", "minItems": 1, "maxItems": 100, "items": TENSORS},
                "ids": {
                    "type": ["array", "null"],
                    "description": "one for each input: the same request sent again is the same jobs",
                    "minItems": 1,
                    "maxItems": 100,
                    "uniqueItems": True,
                    "items": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
                },
            },
        },
        {"version": "mnist", "inputs": [{"x": [[0.0] * 28] * 28}, {"x": [[1.0] * 28] * 28}]},
    ),
}
_NOT_TAKEN = {
    "type": "object",
    "required": ["code", "detail", "retryable", "retry_after_s"],
    "properties": {
        "code": STRING,
        "detail": STRING,
        "retryable": {"type": "boolean"},
        "retry_after_s": {"type": ["integer", "null"]},
    },
}
MANY_CREATED: dict[int | str, dict[str, Any]] = {
    202: answer(
        "Accepted, but for those with an `error`",
        listing(
            {"anyOf": [_PREDICTION, {"type": "object", "required": ["error"], "properties": {"error": _NOT_TAKEN}}]}
        ),
    ),
    **problems(400, 404, 413, 415, 422, 503),
}
PREDICTIONS: dict[int | str, dict[str, Any]] = {
    200: answer(
        "The jobs",
        listing(
            _PREDICTION, missing={"type": "array", "items": STRING, "description": "ids of jobs that are not there"}
        ),
    ),
    **problems(422, 503),
}
DELETED: dict[int | str, dict[str, Any]] = {204: {"description": "Forgotten"}, **problems(404, 422, 503)}
_DEAD_LETTER = {
    "allOf": [_PREDICTION, {"type": "object", "properties": {"died_at": {"type": "string", "format": "date-time"}}}]
}
DEAD_LETTERS: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Dead letters, the last first",
        listing(_DEAD_LETTER, total={"type": "integer"}, has_more={"type": "boolean"}),
    ),
    **problems(422, 503),
}
DEAD_LETTER: dict[int | str, dict[str, Any]] = {200: answer("The letter", _PREDICTION), **problems(404, 422, 503)}
REPLAYED: dict[int | str, dict[str, Any]] = {
    202: answer("Accepted as a new job", _PREDICTION, {"Location": HEADER}),
    **problems(404, 422, 503),
}
PREDICT_BODY = {
    "parameters": TERMS,
    "requestBody": json_body(
        {
            "type": "object",
            "required": ["x"],
            "additionalProperties": False,
            "properties": {
                "x": {"description": "one row, nested or flat; the whole tensor where the model has no rows"},
                **REFERENCE,
            },
        },
        {"x": [0.0] * 784},
    ),
}
PREDICT: dict[int | str, dict[str, Any]] = {
    200: answer(
        "The class with the highest score",
        {
            "type": "object",
            "required": ["prediction"],
            "properties": {"prediction": {"type": "integer"}, "label": STRING},
        },
        {"Location": HEADER},
    ),
    **problems(400, 404, 413, 415, 422, 500, 503, 504),
}
