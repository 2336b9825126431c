"""The API and its fleet: /v2/health, /v1/stats, /v1/key, /metrics."""

from typing import Any

from api.openapi.parts import NULLABLE_INTEGER, NULLABLE_NUMBER, NULLABLE_STRING, STRING, answer, problems
from ferry.access import Scope

LIVE: dict[int | str, dict[str, Any]] = {
    200: answer("Alive", {"type": "object", "properties": {"live": {"const": True}}})
}
READY: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Ready",
        {
            "type": "object",
            "properties": {
                "ready": {"const": True},
                "broken_models": {
                    "type": "array",
                    "items": STRING,
                    "description": "name:version of what cannot be loaded, where there is any",
                },
                "parts_down": {
                    "type": "object",
                    "additionalProperties": STRING,
                    "description": "how processes of `ferry up` ended that wait for their next start, by name",
                },
                "warnings": {"type": "array", "items": {"type": "string"}, "description": "how Redis may lose jobs"},
            },
        },
    ),
    **problems(503),
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
        "flower_url": STRING,
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": STRING,
                    "version": STRING,
                    "workers": {"type": "integer", "description": "alive"},
                    "waiting": {
                        "type": "object",
                        "additionalProperties": {"type": "integer"},
                        "description": "jobs by class: high, normal, bulk, and `again` after their worker died",
                    },
                    "waiting_jobs": {"type": "integer"},
                    "waiting_rows": {"type": "integer"},
                    "oldest_s": {"type": "number", "description": "how long the first has waited"},
                    "jobs_per_s": NULLABLE_NUMBER,
                    "rows_per_s": {"type": ["number", "null"], "description": "of bulk batches too"},
                    "batches_per_s": NULLABLE_NUMBER,
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
STATS: dict[int | str, dict[str, Any]] = {200: answer("The load", _STATS), **problems(404, 503)}
STATS_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `stats`, whose data is what GET /v1/stats answers, and `problem`",
        "content": {"text/event-stream": {"schema": STRING}},
    },
    **problems(404),
}
KEY: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Who asks",
        {
            "type": "object",
            "required": ["object", "needed", "id", "name", "owner", "scopes"],
            "properties": {
                "object": {"const": "key"},
                "needed": {"type": "boolean", "description": "whether this API asks for keys"},
                "id": NULLABLE_STRING,
                "name": NULLABLE_STRING,
                "owner": NULLABLE_STRING,
                "scopes": {"type": "array", "items": {"enum": sorted(Scope)}},
                "rate_per_s": NULLABLE_NUMBER,
                "max_unfinished": NULLABLE_INTEGER,
            },
        },
    )
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics", "content": {"text/plain": {"schema": STRING}}},
    **problems(404, 503),
}
