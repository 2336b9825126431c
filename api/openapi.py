"""What /openapi.json says of bodies and answers: the routes read raw JSON, so their shapes stand here.

A test sends generated requests against it and checks each answer with it.
"""

from typing import Any

from api.access import OF_ANY_KEY, scope_of
from api.downloads import BINARY, MEDIA_TYPES
from ferry.access import Scope

_STRING = {"type": "string"}
_NULLABLE_STRING = {"type": ["string", "null"]}
_NULLABLE_TIME = {"type": ["string", "null"], "format": "date-time"}
_TENSORS = {
    "type": "object",
    "description": "nested lists by tensor name, batch axis first; a single row may leave that axis out",
    "additionalProperties": True,
}

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "error"],
    "properties": {
        "type": _STRING,
        "title": _STRING,
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, the limit and the remedy"},
        "instance": _STRING,
        "code": {"type": "string", "description": "stable, for programs"},
        "error": _STRING,
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"detail": _STRING, "pointer": _STRING}},
        },
    },
}

_PREDICTION = {
    "type": "object",
    "required": ["id", "model", "version", "status", "state", "input", "output", "error", "created_at", "urls"],
    "properties": {
        "id": _STRING,
        "model": _STRING,
        "version": _STRING,
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
        "labels": {"description": "the label of the highest score, per row", "type": ["string", "array", "null"]},
        "error": _NULLABLE_STRING,
        "error_code": _NULLABLE_STRING,
        "replay_of": {"type": ["string", "null"], "description": "the dead letter whose input this job has"},
        "logs": _STRING,
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
        "urls": {"type": "object", "properties": {"get": _STRING, "cancel": _STRING}},
    },
}

_MODEL = {
    "type": "object",
    "required": ["id", "object", "name", "owner", "latest_version", "versions"],
    "properties": {
        "id": _STRING,
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": _STRING,
        "owner": _STRING,
        "name": _STRING,
        "description": _STRING,
        "latest_version": {"type": "object"},
        "aliases": {"type": "object", "additionalProperties": _STRING},
        "versions": {"type": "array", "items": {"type": "object"}},
    },
}

_FILE = {
    "type": "object",
    "required": ["id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status", "sha256"],
    "properties": {
        "id": _STRING,
        "object": {"const": "file"},
        "bytes": {"type": "integer"},
        "created_at": {"type": "integer", "description": "seconds since 1970"},
        "expires_at": {"type": "integer", "description": "seconds since 1970; then the file is deleted"},
        "filename": _STRING,
        "purpose": {"enum": ["batch", "batch_output"]},
        "status": {"enum": ["uploaded", "processed", "error"]},
        "sha256": {"type": ["string", "null"], "description": "of the bytes, in hex"},
    },
}

_REASONS = {
    400: "Not JSON",
    404: "No such thing",
    413: "Body too large",
    415: "Not a JSON content type",
    416: "No byte of the file is in the range",
    422: "Does not fit the model",
    500: "The job failed",
    503: "Queue full or Redis away; see Retry-After",
    504: "Not done in time; the job goes on",
}


def _answer(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return answer | ({"headers": headers} if headers else {})


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def _json_body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


_HEADER = {"schema": {"type": "string"}}
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
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters; the same key and body again is the same job, while it is kept",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_TERMS: list[dict[str, Any]] = [
    {
        "name": "Priority",
        "in": "header",
        "required": False,
        "description": "RFC 9218: `u=0` to 2 goes first, 3 to 5 is normal, 6 and 7 is bulk; all keep a share",
        "schema": {"type": "string"},
    },
]

PREDICTION_BODY = {
    "parameters": [*_WAITING, *_TERMS, _KEY],
    "requestBody": _json_body(
        {
            "type": "object",
            "required": ["version", "input"],
            "additionalProperties": False,
            "properties": {
                "version": {"type": "string", "description": "model, or model:version", "minLength": 1},
                "input": _TENSORS,
            },
        },
        {"version": "mnist", "input": {"x": [[0.0] * 28] * 28}},
    ),
}
PREDICTION_CREATED: dict[int | str, dict[str, Any]] = {
    201: _answer(
        "Done within the time you would wait", _PREDICTION, {"Location": _HEADER, "Preference-Applied": _HEADER}
    ),
    202: _answer("Accepted", _PREDICTION, {"Location": _HEADER, "Retry-After": _HEADER}),
    **_problems(400, 404, 413, 415, 422, 503),
}
PREDICTION: dict[int | str, dict[str, Any]] = {200: _answer("The job", _PREDICTION), **_problems(404, 422, 503)}
MANY_BODY = {
    "parameters": _TERMS,
    "requestBody": _json_body(
        {
            "type": "object",
            "required": ["version", "inputs"],
            "additionalProperties": False,
            "properties": {
                "version": {"type": "string", "description": "model, or model:version", "minLength": 1},
                "inputs": {"type": "array", "minItems": 1, "maxItems": 100, "items": _TENSORS},
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
        "code": _STRING,
        "detail": _STRING,
        "retryable": {"type": "boolean"},
        "retry_after_s": {"type": ["integer", "null"]},
    },
}
MANY_CREATED: dict[int | str, dict[str, Any]] = {
    202: _answer(
        "Accepted, but for those with an `error`",
        {
            "type": "object",
            "required": ["object", "data"],
            "properties": {
                "object": {"const": "list"},
                "data": {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            _PREDICTION,
                            {"type": "object", "required": ["error"], "properties": {"error": _NOT_TAKEN}},
                        ]
                    },
                },
            },
        },
    ),
    **_problems(400, 404, 413, 415, 422, 503),
}
PREDICTIONS: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "The jobs",
        {
            "type": "object",
            "required": ["object", "data", "missing"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _PREDICTION},
                "missing": {"type": "array", "items": _STRING, "description": "ids of jobs that are not there"},
            },
        },
    ),
    **_problems(422, 503),
}
DELETED: dict[int | str, dict[str, Any]] = {204: {"description": "Forgotten"}, **_problems(404, 422, 503)}
_DEAD_LETTER = {
    "allOf": [_PREDICTION, {"type": "object", "properties": {"died_at": {"type": "string", "format": "date-time"}}}]
}
DEAD_LETTERS: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Dead letters, the last first",
        {
            "type": "object",
            "required": ["object", "data", "total", "has_more"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _DEAD_LETTER},
                "total": {"type": "integer"},
                "has_more": {"type": "boolean"},
            },
        },
    ),
    **_problems(422, 503),
}
DEAD_LETTER: dict[int | str, dict[str, Any]] = {200: _answer("The letter", _PREDICTION), **_problems(404, 422, 503)}
REPLAYED: dict[int | str, dict[str, Any]] = {
    202: _answer("Accepted as a new job", _PREDICTION, {"Location": _HEADER}),
    **_problems(404, 422, 503),
}
PREDICT_BODY = {
    "parameters": _TERMS,
    "requestBody": _json_body(
        {
            "type": "object",
            "required": ["x"],
            "additionalProperties": False,
            "properties": {
                "x": {"type": "array", "description": "one row, nested or flat"},
                "model": {"type": "string", "minLength": 1},
            },
        },
        {"x": [0.0] * 784},
    ),
}
PREDICT: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "The class with the highest score",
        {
            "type": "object",
            "required": ["prediction"],
            "properties": {"prediction": {"type": "integer"}, "label": _STRING},
        },
        {"Location": _HEADER},
    ),
    **_problems(400, 404, 413, 415, 422, 500, 503, 504),
}
_OIP_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": _STRING,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": _STRING,
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
}
_OIP_HEADER = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "bytes of JSON at the head of a body that carries raw tensors; 0 when it has no JSON",
    "schema": {"type": "integer", "minimum": 0},
}
INFER_BODY = {
    "parameters": [_OIP_HEADER, *_TERMS],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "additionalProperties": False,
                    "properties": {
                        "id": {"type": "string", "maxLength": 256},
                        "parameters": {"type": "object"},
                        "inputs": {"type": "array", "items": _OIP_TENSOR},
                        "outputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {"name": _STRING, "parameters": {"type": "object"}},
                            },
                        },
                    },
                },
                "example": {
                    "inputs": [{"name": "x", "shape": [1, 28, 28], "datatype": "FP32", "data": [0.0] * 784}],
                },
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
INFER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs; raw tensors follow the JSON where they were asked for",
        "headers": {"Inference-Header-Content-Length": {"schema": {"type": "string"}}},
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model_name", "model_version", "outputs"],
                    "properties": {
                        "model_name": _STRING,
                        "model_version": _STRING,
                        "id": _STRING,
                        "outputs": {"type": "array", "items": _OIP_TENSOR},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    **_problems(400, 404, 413, 415, 422, 500, 503, 504),
}
MODELS: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "All models",
        {
            "type": "object",
            "required": ["object", "data", "results"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _MODEL},
                "results": {"type": "array", "items": _MODEL},
            },
        },
    )
}
MODEL: dict[int | str, dict[str, Any]] = {200: _answer("The model", _MODEL), **_problems(404, 422)}
EXAMPLES: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Rows",
        {
            "type": "object",
            "required": ["object", "model", "version", "made_up", "data"],
            "properties": {
                "object": {"const": "list"},
                "model": _STRING,
                "version": _STRING,
                "made_up": {"type": "boolean", "description": "from the signature; else real rows"},
                "data": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["input", "truth"],
                        "properties": {"input": _TENSORS, "truth": _NULLABLE_STRING},
                    },
                },
            },
        },
    ),
    **_problems(404, 422),
}
# Errors of the OpenAI routes: `error` is the object that its clients read.
_OPENAI_PROBLEM = _PROBLEM | {
    "properties": _PROBLEM["properties"]
    | {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": _STRING, "type": _STRING, "param": _NULLABLE_STRING, "code": _STRING},
        }
    }
}
_OPENAI_REASONS = {
    400: "Cannot be read, or a field is wrong",
    404: "No such file",
    413: "File too large",
    415: "Not a form with parts",
    416: _REASONS[416],
    # FastAPI documents its own body for routes with parameters, unless they name the status themselves.
    422: "Not answered here; 400 is",
    503: "Redis or the storage is away or full; see Retry-After",
}


def _openai_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _OPENAI_PROBLEM}}
    return {status: {"description": _OPENAI_REASONS[status], "content": content} for status in statuses}


FILE_FORM = {
    "parameters": [
        _KEY
        | {"description": "1 to 255 visible ASCII characters; the same key and file again is the file that is there"}
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["purpose", "file"],
                    "properties": {
                        "purpose": {"type": "string", "enum": ["batch"], "description": "best sent before the file"},
                        "file": {"type": "string", "format": "binary", "minLength": 1},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
                    },
                }
            }
        },
    },
}
FILE_CREATED: dict[int | str, dict[str, Any]] = {
    200: _answer("The file", _FILE),
    **_openai_problems(400, 413, 415, 503),
    422: {
        "description": "The Idempotency-Key was used for another file",
        "content": {"application/problem+json": {"schema": _OPENAI_PROBLEM}},
    },
}
FILES: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Files in the order asked for",
        {
            "type": "object",
            "required": ["object", "data", "first_id", "last_id", "has_more"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _FILE},
                "first_id": _NULLABLE_STRING,
                "last_id": _NULLABLE_STRING,
                "has_more": {"type": "boolean"},
            },
        },
    ),
    **_openai_problems(400, 404, 422, 503),
}
FILE: dict[int | str, dict[str, Any]] = {200: _answer("The file", _FILE), **_openai_problems(400, 404, 422, 503)}
RANGE = {
    "parameters": [
        {
            "name": "Range",
            "in": "header",
            "required": False,
            "description": "one range of bytes (RFC 9110); several are ignored",
            "schema": _STRING,
        }
    ]
}
_BYTES = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in (*sorted(set(MEDIA_TYPES.values())), BINARY)
}
FILE_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file's bytes; the type is that of its name's suffix", "content": _BYTES},
    206: {"description": "The bytes asked for", "content": _BYTES, "headers": {"Content-Range": _HEADER}},
    **_openai_problems(400, 404, 416, 422, 503),
}
FILE_DELETED: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Deleted",
        {
            "type": "object",
            "required": ["id", "object", "deleted"],
            "properties": {"id": _STRING, "object": {"const": "file"}, "deleted": {"const": True}},
        },
    ),
    **_openai_problems(400, 404, 422, 503),
}
_NULLABLE_INTEGER = {"type": ["integer", "null"]}
_NULLABLE_NUMBER = {"type": ["number", "null"]}
_BATCH_TIMES = (
    "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
)  # fmt: skip
_BATCH_STATUSES = [
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled",
]  # fmt: skip
_BATCH = {
    "type": "object",
    "required": ["id", "object", "endpoint", "status", "input_file_id", "request_counts", "created_at", "expires_at"],
    "properties": {
        "id": _STRING,
        "object": {"const": "batch"},
        "endpoint": _STRING,
        "model": _STRING,
        "model_version": _STRING,
        "status": {"type": "string", "enum": _BATCH_STATUSES},
        "input_file_id": _STRING,
        "output_file_id": _NULLABLE_STRING,
        "error_file_id": _NULLABLE_STRING,
        "completion_window": _STRING,
        "created_at": {"type": "integer"},
        "expires_at": {"type": "integer"},
        **dict.fromkeys(_BATCH_TIMES, _NULLABLE_INTEGER),
        "errors": {
            "type": ["object", "null"],
            "properties": {
                "object": {"const": "list"},
                "data": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "code": _STRING,
                            "message": _STRING,
                            "param": _NULLABLE_STRING,
                            "line": _NULLABLE_INTEGER,
                        },
                    },
                },
            },
        },
        "request_counts": {
            "type": "object",
            "required": ["total", "completed", "failed"],
            "properties": {key: {"type": "integer"} for key in ("total", "completed", "failed")},
        },
        "metadata": {"type": ["object", "null"], "additionalProperties": _STRING},
        "format": _NULLABLE_STRING,
        "output_format": _NULLABLE_STRING,
        "progress": {
            "type": "object",
            "properties": {
                "rows_done": {"type": "integer"},
                "rows_per_s": _NULLABLE_NUMBER,
                "eta_s": _NULLABLE_NUMBER,
                "chunks": _NULLABLE_INTEGER,
                "chunks_done": {"type": "integer"},
            },
        },
        "timings": {
            "type": "object",
            "properties": dict.fromkeys(("created", "in_progress", "finalizing", "ended"), _NULLABLE_NUMBER),
        },
    },
}
_BATCH_REASONS = {
    404: "No such batch, file or model",
    409: "The batch is over",
    422: "The Idempotency-Key was used for another request",
}


def _batch_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    found = _openai_problems(*(status for status in statuses if status not in _BATCH_REASONS))
    content = {"application/problem+json": {"schema": _OPENAI_PROBLEM}}
    return found | {
        status: {"description": _BATCH_REASONS[status], "content": content}
        for status in statuses
        if status in _BATCH_REASONS
    }


BATCH_BODY = {
    "parameters": [
        _KEY | {"description": "1 to 255 visible ASCII characters; the same key and body again is the same batch"}
    ],
    "requestBody": _json_body(
        {
            "type": "object",
            "required": ["input_file_id", "endpoint"],
            "additionalProperties": False,
            "properties": {
                "input_file_id": _STRING,
                "endpoint": {
                    "type": "string",
                    "description": "/v2/models/NAME[/versions/VERSION]/infer or /v1/predictions",
                },
                "completion_window": {"type": "string", "description": "24h, 90m, 3600s, 7d; from 1m to 30d"},
                "metadata": {
                    "type": ["object", "null"],
                    "maxProperties": 16,
                    "additionalProperties": {"type": "string", "maxLength": 512},
                    "description": "yours; output_format and join say how the output is written",
                },
                "output_expires_after": {
                    "type": ["object", "null"],
                    "required": ["anchor", "seconds"],
                    "properties": {
                        "anchor": {"type": "string", "enum": ["created_at"]},
                        "seconds": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
                    },
                },
                "model": {
                    "type": ["string", "null"],
                    "description": "of an endpoint that names none: mnist, or mnist:1",
                },
            },
        },
        {"input_file_id": "file-abc123", "endpoint": "/v2/models/mnist/infer", "completion_window": "24h"},
    ),
}
BATCH_CREATED: dict[int | str, dict[str, Any]] = {
    200: _answer("The batch", _BATCH),
    **_batch_problems(400, 404, 413, 415, 422, 503),
}
BATCH: dict[int | str, dict[str, Any]] = {200: _answer("The batch", _BATCH), **_batch_problems(400, 404, 422, 503)}
BATCH_CANCELLED: dict[int | str, dict[str, Any]] = {
    200: _answer("The batch", _BATCH),
    **_batch_problems(400, 404, 409, 422, 503),
}
BATCHES: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Batches, the newest first",
        {
            "type": "object",
            "required": ["object", "data", "first_id", "last_id", "has_more"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _BATCH},
                "first_id": _NULLABLE_STRING,
                "last_id": _NULLABLE_STRING,
                "has_more": {"type": "boolean"},
            },
        },
    ),
    **_batch_problems(400, 404, 422, 503),
}
LIVE: dict[int | str, dict[str, Any]] = {
    200: _answer("Alive", {"type": "object", "properties": {"live": {"const": True}}})
}
READY: dict[int | str, dict[str, Any]] = {
    200: _answer("Ready", {"type": "object", "properties": {"ready": {"const": True}}}),
    **_problems(503),
}
_STATS = {
    "type": "object",
    "required": ["object", "time", "over_s", "running_claims", "dead_letters", "flower_url", "models"],
    "properties": {
        "object": {"const": "stats"},
        "time": {"type": "string", "format": "date-time"},
        "over_s": {"type": ["number", "null"], "description": "rates are averages over so many seconds"},
        "running_claims": {"type": "integer", "description": "batches that workers hold"},
        "dead_letters": {"type": "integer"},
        "flower_url": _STRING,
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": _STRING,
                    "version": _STRING,
                    "workers": {"type": "integer", "description": "alive"},
                    "waiting": {
                        "type": "object",
                        "additionalProperties": {"type": "integer"},
                        "description": "jobs by class: high, normal, bulk, and `again` after their worker died",
                    },
                    "waiting_jobs": {"type": "integer"},
                    "waiting_rows": {"type": "integer"},
                    "oldest_s": {"type": "number", "description": "how long the first has waited"},
                    "jobs_per_s": _NULLABLE_NUMBER,
                    "rows_per_s": {"type": ["number", "null"], "description": "of bulk batches too"},
                    "batches_per_s": _NULLABLE_NUMBER,
                    "rows_per_batch": {"type": ["number", "null"], "description": "null while none ran"},
                    "jobs": {
                        "type": "object",
                        "additionalProperties": {"type": "integer"},
                        "description": "since Redis was new: submitted, succeeded, failed, canceled, expired",
                    },
                    "rows": {"type": "integer", "description": "since Redis was new, of bulk batches too"},
                    "bulk_rows": {"type": "integer"},
                    "batches": {"type": "integer"},
                },
            },
        },
    },
}
STATS: dict[int | str, dict[str, Any]] = {200: _answer("The load", _STATS), **_problems(404, 503)}
STATS_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `stats`, whose data is what GET /v1/stats answers, and `problem`",
        "content": {"text/event-stream": {"schema": _STRING}},
    },
    **_problems(404),
}
KEY: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Who asks",
        {
            "type": "object",
            "required": ["object", "needed", "id", "name", "owner", "scopes"],
            "properties": {
                "object": {"const": "key"},
                "needed": {"type": "boolean", "description": "whether this API asks for keys"},
                "id": _NULLABLE_STRING,
                "name": _NULLABLE_STRING,
                "owner": _NULLABLE_STRING,
                "scopes": {"type": "array", "items": {"enum": sorted(Scope)}},
                "rate_per_s": _NULLABLE_NUMBER,
                "max_unfinished": _NULLABLE_INTEGER,
            },
        },
    )
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics", "content": {"text/plain": {"schema": _STRING}}},
    **_problems(404, 503),
}


INDEX_BODY = {
    "requestBody": {
        "content": {"application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}
    }
}
INDEX: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "Every version",
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "version", "state", "reason"],
                "properties": {
                    "name": _STRING,
                    "version": _STRING,
                    "state": {"enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]},
                    "reason": _STRING,
                },
            },
        },
    ),
    **_problems(400, 413, 422),
}
LOAD_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"parameters": {"type": "object", "properties": {"version": _STRING}}},
                }
            }
        }
    }
}
LOADED: dict[int | str, dict[str, Any]] = {200: {"description": "Done"}, **_problems(400, 404, 413, 422, 503)}


def with_access(schema: dict[str, Any]) -> dict[str, Any]:
    """Add to a whole OpenAPI document which operations take an API key, and what they answer without."""
    schema.setdefault("components", {})["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`ferry keys create`), where they are needed.",
        }
    }
    content = {"application/problem+json": {"schema": _PROBLEM}}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            scope = scope_of(method.upper(), path)
            if scope is None:
                continue
            is_for_any = path in OF_ANY_KEY
            needs = "any" if is_for_any else f"`{scope}`"
            operation["security"] = [{}, {"key": []}]
            operation["description"] = f"{operation.get('description', '')}\n\nScope of its API key: {needs}.".strip()
            answers = {"401": "No API key that is in force"}
            if not is_for_any:
                answers["403"] = f"The key has not the scope {scope}"
            if scope is Scope.SUBMIT:
                answers["429"] = "The key is over its limits; see Retry-After"
            for status, description in answers.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
    return schema
