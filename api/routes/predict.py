"""`POST /predict`: one row in, one class out, on the same queue. For those who want no job ids."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from api import submission
from api.addresses import location_of
from api.bodies import read_json_object
from api.catalog import Entry
from api.context import context_of
from api.headers import headers_of
from api.openapi import jobs as openapi
from api.references import read_reference
from api.services import Services, services_of
from api.terms import terms_from_headers
from api.wire import JSONAnswer
from ferry.errors import InvalidInputError, ModelError
from ferry.job_ids import own_id
from ferry.json_forms import escape_pointer
from ferry.json_tensors import Rows, read_flat_input
from ferry.tensors import Array

router = APIRouter(tags=["predict"])

_KNOWN_FIELDS = frozenset({"x", "model", "version"})


@router.post("/predict", responses=openapi.PREDICT, openapi_extra=openapi.PREDICT_BODY, response_class=JSONAnswer)
async def predict(request: Request) -> JSONAnswer:
    """Classify one row, nested or flat: `{"x": [...]}` with values as the model expects them (MNIST: 0 to 1)."""
    services, headers = services_of(request), headers_of(request)
    terms = terms_from_headers(headers)
    body = await read_json_object(request, headers, max_bytes=services.settings.max_body_bytes)
    entry = await _entry(services, body)
    rows = _row(entry, body)
    entry = await submission.live_entry(services, entry)
    wait_s = services.settings.default_wait_s
    context = context_of(request)
    record = await submission.run(services, entry, rows, context=context, wait_s=wait_s, terms=terms)
    headers = {"Location": location_of(request, f"/v1/predictions/{own_id(record.id)}")}
    return JSONAnswer(_answer(entry, submission.output_of(services, record, wait_s, pointer="#/x")), headers=headers)


async def _entry(services: Services, body: dict[str, Any]) -> Entry:
    for field in body:
        if field not in _KNOWN_FIELDS:
            detail = f"unknown field {field[:40]!r}; expected x, and model or version if not the default"
            raise InvalidInputError.at(f"#/{escape_pointer(field)}", detail)
    if "x" not in body:
        raise InvalidInputError.at("#/x", "'x' is missing: the row to classify")
    if "model" in body or "version" in body:
        return await services.catalog.find(*read_reference(body))
    return await services.catalog.find(services.settings.default_model)


def _row(entry: Entry, body: dict[str, Any]) -> Rows:
    inputs = entry.manifest.inputs
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        detail = f"{entry.manifest.ref} has {len(inputs)} inputs ({names}), /predict takes one; use /v1/predictions"
        raise InvalidInputError.at("#/model", detail)
    output = entry.manifest.outputs[entry.manifest.labels_index]
    if len(output.inner_shape) != 1 or output.is_string:
        detail = f"{entry.manifest.ref} does not give one score per class; use /v1/predictions"
        raise InvalidInputError.at("#/model", detail)
    return read_flat_input(entry.manifest, body["x"], "#/x")


def _answer(entry: Entry, output: bytes) -> dict[str, Any]:
    scores = _scores(entry, output)
    if np.isnan(scores).any():
        raise ModelError(f"{entry.manifest.ref} gave scores that are no numbers (NaN) for this row")
    best = int(scores.argmax())
    answer: dict[str, Any] = {"prediction": best}
    labels = entry.manifest.labels
    if best < len(labels) and labels[best] != str(best):
        answer["label"] = labels[best]
    return answer


def _scores(entry: Entry, output: bytes) -> Array:
    """Return the scores of the one row. Shape: (classes,)."""
    manifest = entry.manifest
    index = manifest.labels_index
    scores = entry.outputs.unpack(output)[index]
    axis = 0 if manifest.is_batched else manifest.outputs[index].batch_axis
    if axis is None and scores.ndim == 1 and scores.size:
        return scores
    if axis is None or scores.ndim != 2 or scores.shape[axis] != 1 or not scores.size:
        detail = f"{manifest.ref} gave scores of shape {list(scores.shape)} for this row, not one for each class"
        raise ModelError(f"{detail}; /v1/predictions gives outputs of any shape")
    return scores.reshape(-1)
