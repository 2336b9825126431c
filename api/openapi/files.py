"""Files of bulk batches: /v1/files."""

from typing import Any

from api.downloads import BINARY, MEDIA_TYPES
from api.openapi.parts import (
    HEADER,
    IDEMPOTENCY_KEY,
    OPENAI_PROBLEM,
    STRING,
    answer,
    openai_problems,
    page,
)

_FILE = {
    "type": "object",
    "required": ["id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status", "sha256"],
    "properties": {
        "id": STRING,
        "object": {"const": "file"},
        "bytes": {"type": "integer"},
        "created_at": {"type": "integer", "description": "seconds since 1970"},
        "expires_at": {"type": "integer", "description": "seconds since 1970; then the file is deleted"},
        "filename": STRING,
        "purpose": {"enum": ["batch", "batch_output"]},
        "status": {"enum": ["uploaded", "processed", "error"]},
        "sha256": {"type": ["string", "null"], "description": "of the bytes, in hex"},
    },
}
FILE_FORM = {
    "parameters": [
        IDEMPOTENCY_KEY
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
    200: answer("The file", _FILE),
    **openai_problems(400, 413, 415, 503),
    422: {
        "description": "The Idempotency-Key was used for another file",
        "content": {"application/problem+json": {"schema": OPENAI_PROBLEM}},
    },
}
FILES: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Files in the order asked for",
        page(_FILE),
    ),
    **openai_problems(400, 404, 422, 503),
}
FILE: dict[int | str, dict[str, Any]] = {200: answer("The file", _FILE), **openai_problems(400, 404, 422, 503)}
RANGE = {
    "parameters": [
        {
            "name": "Range",
            "in": "header",
            "required": False,
            "description": "one range of bytes (RFC 9110); several are ignored",
            "schema": STRING,
        }
    ]
}
_BYTES = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in (*sorted(set(MEDIA_TYPES.values())), BINARY)
}
FILE_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file's bytes; the type is that of its name's suffix", "content": _BYTES},
    206: {"description": "The bytes asked for", "content": _BYTES, "headers": {"Content-Range": HEADER}},
    **openai_problems(400, 404, 416, 422, 503),
}
FILE_DELETED: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Deleted",
        {
            "type": "object",
            "required": ["id", "object", "deleted"],
            "properties": {"id": STRING, "object": {"const": "file"}, "deleted": {"const": True}},
        },
    ),
    **openai_problems(400, 404, 422, 503),
}
