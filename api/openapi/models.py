"""Models: /v1/models, and /v2/repository."""

from typing import Any

from api.openapi.parts import NULLABLE_INTEGER, NULLABLE_STRING, STRING, TENSORS, answer, listing, problems
from ferry.manifest import Evidence, ExecutionMode

_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "dtype", "datatype", "shape", "batch_axis"],
    "properties": {
        "name": STRING,
        "dtype": STRING,
        "datatype": {"type": "string", "description": "dtype by its name in the Open Inference Protocol"},
        "shape": {
            "type": ["array", "null"],
            "items": {"type": "integer", "minimum": -1},
            "description": "in the model's own layout; -1 is any size. null: any number of axes",
        },
        "batch_axis": NULLABLE_INTEGER | {"description": "the axis along which rows lie; null: it has no rows"},
        "range": {"type": ["array", "null"], "items": {"type": "number"}},
        "preprocess": {"type": ["object", "null"]},
    },
}
_INPUT = _TENSOR | {
    "required": ["name", "dtype", "datatype", "shape", "batch_axis", "missing"],
    "properties": _TENSOR["properties"]
    | {
        "missing": {
            "type": ["string", "number", "boolean"],
            "description": "what a missing value (null, NaN, an empty cell) becomes: `error` fails its job or row, "
            "`nan` is NaN for the model, all else is the value itself",
        }
    },
}
_FIXED_INPUT = {
    "type": "object",
    "required": ["name", "dtype", "shape", "values"],
    "properties": {
        "name": STRING,
        "dtype": STRING,
        "shape": {"type": "array", "items": {"type": "integer"}},
        "values": {"type": "array", "description": "in row-major order"},
    },
}
_EXECUTION = {
    "type": "object",
    "required": ["mode", "reason", "evidence", "max_move"],
    "properties": {
        "mode": {
            "enum": [mode.value for mode in ExecutionMode],
            "description": "batched: rows of many jobs share a run. whole_job: each job is a run of its own",
        },
        "reason": STRING,
        "evidence": {"enum": [evidence.value for evidence in Evidence]},
        "max_move": {
            "type": "number",
            "description": "largest relative change of an answer when only the number of rows of a run changed",
        },
    },
}
_VERSION = {
    "type": "object",
    "required": ["id", "inputs", "outputs", "fixed_inputs", "labels", "labels_of", "execution", "has_rows"],
    "properties": {
        "id": STRING,
        "inputs": {"type": "array", "items": _INPUT},
        "outputs": {"type": "array", "items": _TENSOR},
        "fixed_inputs": {
            "type": "array",
            "items": _FIXED_INPUT,
            "description": "inputs of the model that no client sends: the same value in every run",
        },
        "labels": {"type": "array", "items": STRING},
        "labels_of": NULLABLE_STRING | {"description": "the output that has a score for each label"},
        "execution": _EXECUTION,
        "has_rows": {"type": "boolean", "description": "whether one row can be sent without the batch axis"},
        "max_rows": {"type": "integer", "description": "rows of one run"},
        "max_wait_ms": {"type": "number"},
        "state": {
            "enum": ["ready", "broken", "no_worker", "unloaded"],
            "description": "ready: a live worker serves it. broken: none does, since it cannot be loaded",
        },
        "broken": NULLABLE_STRING | {"description": "why a worker cannot load it"},
        "live_workers": {"type": "integer"},
        "other_workers": {
            "type": "integer",
            "description": "Live workers that get no job, since they serve other files under this version.",
        },
        "digest": {"type": "string", "description": "Identity of the version: over its files and its manifest."},
        "waiting_rows": {"type": "integer"},
    },
}
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
        "latest_version": _VERSION,
        "aliases": {"type": "object", "additionalProperties": STRING},
        "versions": {"type": "array", "items": _VERSION},
    },
}
_BROKEN = {
    "type": "object",
    "required": ["name", "version", "reason", "workers"],
    "properties": {
        "name": STRING,
        "version": STRING,
        "reason": STRING,
        "workers": {"type": "integer", "description": "live workers that cannot load it; 0: the API itself saw it"},
    },
}
MODELS: dict[int | str, dict[str, Any]] = {
    200: answer(
        "All models",
        listing(_MODEL, results={"type": "array", "items": _MODEL}, broken={"type": "array", "items": _BROKEN}),
    )
}
MODEL: dict[int | str, dict[str, Any]] = {200: answer("The model", _MODEL), **problems(404, 422)}
EXAMPLES: dict[int | str, dict[str, Any]] = {
    200: answer(
        "Inputs",
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
