"""Bulk batches: /v1/batches."""

from typing import Any

from api.openapi.parts import (
    IDEMPOTENCY_KEY,
    NULLABLE_INTEGER,
    NULLABLE_NUMBER,
    NULLABLE_STRING,
    OPENAI_PROBLEM,
    STRING,
    answer,
    json_body,
    openai_problems,
    page,
)
from ferry.bulk.formats.text_rows import TEXT_KINDS

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
        "id": STRING,
        "object": {"const": "batch"},
        "endpoint": STRING,
        "model": STRING,
        "model_version": STRING,
        "status": {"type": "string", "enum": _BATCH_STATUSES},
        "input_file_id": STRING,
        "output_file_id": NULLABLE_STRING,
        "error_file_id": NULLABLE_STRING,
        "completion_window": STRING,
        "created_at": {"type": "integer"},
        "expires_at": {"type": "integer"},
        **dict.fromkeys(_BATCH_TIMES, NULLABLE_INTEGER),
        "errors": {
            "type": ["object", "null"],
            "properties": {
                "object": {"const": "list"},
                "data": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "code": STRING,
                            "message": STRING,
                            "param": NULLABLE_STRING,
                            "line": NULLABLE_INTEGER,
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
        "metadata": {"type": ["object", "null"], "additionalProperties": STRING},
        "format": NULLABLE_STRING,
        "output_format": NULLABLE_STRING,
        "notes": {
            "type": "array",
            "items": STRING,
            "description": "what was decided about the file: a header that is none, columns left out or taken by place",
        },
        "progress": {
            "type": "object",
            "properties": {
                "rows_done": {"type": "integer"},
                "rows_per_s": NULLABLE_NUMBER,
                "eta_s": NULLABLE_NUMBER,
                "chunks": NULLABLE_INTEGER,
                "chunks_done": {"type": "integer"},
            },
        },
        "timings": {
            "type": "object",
            "properties": dict.fromkeys(("created", "in_progress", "finalizing", "ended"), NULLABLE_NUMBER),
        },
    },
}
_BATCH_REASONS = {
    404: "No such batch, file or model",
    409: "The batch is over, or not over yet",
    422: "The Idempotency-Key was used for another request",
    504: "The file is not checked yet, so the output's format is not known",
}


def _batch_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    found = openai_problems(*(status for status in statuses if status not in _BATCH_REASONS))
    content = {"application/problem+json": {"schema": OPENAI_PROBLEM}}
    return found | {
        status: {"description": _BATCH_REASONS[status], "content": content}
        for status in statuses
        if status in _BATCH_REASONS
    }


BATCH_BODY = {
    "parameters": [
        IDEMPOTENCY_KEY
        | {"description": "1 to 255 visible ASCII characters; the same key and body again is the same batch"}
    ],
    "requestBody": json_body(
        {
            "type": "object",
            "required": [],
            # Of a retry both are those of the earlier batch.
            "anyOf": [{"required": ["input_file_id", "endpoint"]}, {"required": ["metadata"]}],
            "additionalProperties": False,
            "properties": {
                "input_file_id": STRING,
                "endpoint": {
                    "type": "string",
                    "description": "/v2/models/NAME[/versions/VERSION]/infer or /v1/predictions",
                },
                "completion_window": {"type": "string", "description": "24h, 90m, 3600s, 7d; from 1m to 30d"},
                "metadata": {
                    "type": ["object", "null"],
                    "maxProperties": 16,
                    "additionalProperties": {"type": "string", "maxLength": 512},
                    "description": (
                        "yours; output_format, join, csv_escape_formulas and errors (file, or inline: rows that failed "
                        "keep their place in the output) say how the output is written; retry_of, the id of a batch "
                        "that is over, runs its failed rows again and merges the output; all else is that batch's. "
                        "header (auto, yes or no), delimiter (one character, or tab), decimal (. or ,) and encoding "
                        "(cp1252, utf-16, ...; also of JSONL) say how a CSV or TSV file is read that does not show it"
                    ),
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
    200: answer("The batch", _BATCH),
    **_batch_problems(400, 404, 409, 413, 415, 422, 503),
}
BATCH: dict[int | str, dict[str, Any]] = {200: answer("The batch", _BATCH), **_batch_problems(400, 404, 422, 503)}
BATCH_CANCELLED: dict[int | str, dict[str, Any]] = {
    200: answer("The batch", _BATCH),
    **_batch_problems(400, 404, 409, 422, 503),
}
BATCH_OUTPUT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows as they are finished, in the order of the input, until the batch is over",
        "content": {kind.media_type: {"schema": STRING} for kind in TEXT_KINDS.values()},
    },
    **_batch_problems(400, 404, 409, 422, 503, 504),
}
BATCHES: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Batches, the newest first",
        page(_BATCH),
    ),
    **_batch_problems(400, 404, 422, 503),
}
