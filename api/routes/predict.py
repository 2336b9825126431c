"""`POST /predict`: one row in, one class out, on the same queue. For those who want no job ids."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from api import submission
from api.addresses import location_of, public_path
from api.bodies import check_media_type
from api.catalog import Entry
from api.context import context_of
from api.headers import headers_of
from api.job_bodies import Kind
from api.openapi import jobs as openapi
from api.services import services_of
from api.terms import terms_from_headers
from api.wire import JSONAnswer
from ferry.errors import ModelError
from ferry.job_ids import own_id
from ferry.tensors import Array

router = APIRouter(tags=["predict"])


@router.post("/predict", responses=openapi.PREDICT, openapi_extra=openapi.PREDICT_BODY, response_class=JSONAnswer)
async def predict(request: Request) -> JSONAnswer:
    """Classify one row, nested or flat: `{"x": [...]}` with values as the model expects them (MNIST: 0 to 1)."""
    services, headers = services_of(request), headers_of(request)
    terms = terms_from_headers(headers)
    check_media_type(headers.get("content-type", ""))
    async with services.requests.opened(request, headers, Kind.PREDICT) as body:
        asked = body.reference
        entry = await body.find(services.catalog, asked.name or services.settings.default_model, asked.version)
        rows = (await body.read(entry)).jobs[0]
    context = context_of(request)
    await services.door.gate.confirm(context.caller)
    entry = await submission.live_entry(services, entry)
    wait_s = services.settings.default_wait_s
    record = await submission.run(services, entry, rows, context=context, wait_s=wait_s, terms=terms)
    headers = {"Location": location_of(request, f"/v1/predictions/{own_id(record.id)}")}
    output = submission.output_of(services, record, wait_s, pointer="#/x", prefix=public_path(request, ""))
    return JSONAnswer(_answer(entry, output), headers=headers)


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
