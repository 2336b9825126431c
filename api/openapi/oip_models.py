"""Models by the Open Inference Protocol: /v2/models/{name} and its config."""

from typing import Any

from api.openapi.parts import STRING, answer, problems

_SIZES = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": STRING,
        "datatype": STRING,
        "shape": _SIZES | {"description": "in the model's own layout; -1 is any size"},
    },
}
METADATA: dict[int | str, dict[str, Any]] = {
    200: answer(
        "The model",
        {
            "type": "object",
            "required": ["name", "versions", "platform", "inputs", "outputs"],
            "properties": {
                "name": STRING,
                "versions": {"type": "array", "items": STRING},
                "platform": STRING,
                "inputs": {"type": "array", "items": _TENSOR},
                "outputs": {"type": "array", "items": _TENSOR},
            },
        },
    ),
    **problems(404, 422),
}
READY: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Ready",
        {"type": "object", "required": ["name", "ready"], "properties": {"name": STRING, "ready": {"const": True}}},
    ),
    **problems(404, 422, 503),
}
_CONFIGURED = {
    "type": "object",
    "required": ["name", "data_type", "dims"],
    "properties": {
        "name": STRING,
        "data_type": STRING,
        "dims": _SIZES | {"description": "of one row; the whole shape where max_batch_size is 0"},
        "reshape": {"type": "object", "description": "the true shape of a tensor without axes"},
    },
}
CONFIG: dict[int | str, dict[str, Any]] = {
    200: answer(
        "The configuration",
        {
            "type": "object",
            "required": ["name", "platform", "backend", "max_batch_size", "input", "output"],
            "properties": {
                "name": STRING,
                "platform": STRING,
                "backend": STRING,
                "max_batch_size": {
                    "type": "integer",
                    "description": "rows of one run; 0 where a job is a run of its own, or rows are not the first axis",
                },
                "input": {"type": "array", "items": _CONFIGURED},
                "output": {"type": "array", "items": _CONFIGURED},
                "dynamic_batching": {
                    "type": "object",
                    "properties": {"max_queue_delay_microseconds": {"type": "integer"}},
                },
            },
        },
    ),
    **problems(404, 422),
}
