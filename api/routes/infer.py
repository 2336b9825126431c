"""`POST /v2/models/{name}/infer`: the Open Inference Protocol, answered by waiting on the same queue."""

import orjson
from fastapi import APIRouter, Request, Response

from api import submission
from api.addresses import public_path
from api.bodies import check_media_type
from api.catalog import Entry
from api.context import context_of
from api.headers import headers_of
from api.job_bodies import HEADER_LENGTH, JobInputs, Kind
from api.large_answers import LARGE_BYTES, in_pieces
from api.openapi import infer as openapi
from api.services import services_of
from api.terms import terms_from_headers, terms_from_parameters
from ferry.oip import infer_response

router = APIRouter(prefix="/v2/models", tags=["open inference protocol"])


@router.post("/{name}/infer", responses=openapi.INFER, openapi_extra=openapi.INFER_BODY, response_class=Response)
async def infer(request: Request, name: str) -> Response:
    """Run rows through the newest version of a model and wait for the answer."""
    return await _infer(request, name, None)


@router.post(
    "/{name}/versions/{version}/infer",
    responses=openapi.INFER,
    openapi_extra=openapi.INFER_BODY,
    response_class=Response,
)
async def infer_version(request: Request, name: str, version: str) -> Response:
    """Run rows through one version of a model and wait for the answer."""
    return await _infer(request, name, version)


async def _infer(request: Request, name: str, version: str | None) -> Response:
    services = services_of(request)
    headers = headers_of(request)
    media_type = headers.get("content-type", "")
    if not media_type.startswith("application/octet-stream"):
        check_media_type(media_type)
    entry = await services.catalog.find(name, version)
    json_length, has_text = headers.get(HEADER_LENGTH.lower()), any(spec.is_string for spec in entry.manifest.inputs)
    opened = services.requests.opened(request, headers, Kind.INFER, json_length=json_length, has_text=has_text)
    async with opened as body:
        asked = await body.read(entry)
    context = context_of(request)
    await services.door.gate.confirm(context.caller)
    terms = terms_from_parameters(asked.parameters, terms_from_headers(headers))
    entry = await submission.live_entry(services, entry)
    wait_s = services.settings.default_wait_s
    record = await submission.run(services, entry, asked.jobs[0], context=context, wait_s=wait_s, terms=terms)
    prefix = public_path(request, "")
    output = submission.output_of(services, record, wait_s, pointer="#/inputs", prefix=prefix)
    return await _response(entry, asked, output)


async def _response(entry: Entry, asked: JobInputs, output: bytes) -> Response:
    content, tail = infer_response(entry.manifest, asked, entry.outputs.unpack(output))
    if len(output) > LARGE_BYTES:
        content["outputs"] = [await in_pieces(each) for each in content["outputs"]]
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    if not tail:
        return Response(head, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(head))}
    return Response(b"".join([head, *tail]), headers=headers, media_type="application/octet-stream")
