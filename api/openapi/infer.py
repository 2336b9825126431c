"""Inference by the Open Inference Protocol: /v2/models/{name}/infer."""

from typing import Any

from api.openapi.parts import STRING, TERMS, problems

_OIP_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": STRING,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": STRING,
        "parameters": {"type": "object"},
        "data": {"description": "elements in row-major order, flat or nested"},
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
    "parameters": [_OIP_HEADER, *TERMS],
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
                                "properties": {"name": STRING, "parameters": {"type": "object"}},
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
                        "model_name": STRING,
                        "model_version": STRING,
                        "id": STRING,
                        "outputs": {"type": "array", "items": _OIP_TENSOR},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    **problems(400, 404, 413, 415, 422, 500, 503, 504),
}
