"""`/v2/repository`: what is there and whether it is served; load and unload (Open Inference Protocol)."""

from typing import Any

from fastapi import APIRouter, Request, Response

from api.bodies import read_body
from api.catalog import Entry
from api.headers import headers_of
from api.json_parsing import parse_plain_json
from api.openapi import models as openapi
from api.services import Services, services_of
from api.wire import JSONAnswer
from ferry.errors import InvalidInputError

router = APIRouter(prefix="/v2/repository", tags=["open inference protocol"])

MOST_BODY_BYTES = 64 * 1024


@router.post("/index", responses=openapi.INDEX, openapi_extra=openapi.INDEX_BODY, response_class=JSONAnswer)
async def list_repository(request: Request) -> JSONAnswer:
    """List every version with its state; with `{"ready": true}` only those that a live worker serves."""
    body = await _body(request)
    ready = body.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidInputError.at("#/ready", "ready must be true or false")
    catalog = services_of(request).catalog
    shown = [_shown(entry) for entry in catalog.entries]
    known = {(each["name"], each["version"]) for each in shown}
    shown += [
        {"name": each.name, "version": each.version, "state": "UNAVAILABLE", "reason": each.reason}
        for each in catalog.broken
        if each.key not in known
    ]
    return JSONAnswer([each for each in shown if each["state"] == "READY" or not ready])


@router.post(
    "/models/{name}/load", responses=openapi.LOADED, openapi_extra=openapi.LOAD_BODY, response_class=Response
)  # fmt: skip
async def load(request: Request, name: str) -> Response:
    """Let workers serve a model again: all its versions, or the one in `{"parameters": {"version": "2"}}`."""
    return await _set_loaded(request, name, is_loaded=True)


@router.post(
    "/models/{name}/unload", responses=openapi.LOADED, openapi_extra=openapi.LOAD_BODY, response_class=Response
)  # fmt: skip
async def unload(request: Request, name: str) -> Response:
    """Let every worker drop a model within two seconds, and load it no more until `load`; as that for versions.

    Jobs for it are still accepted and wait; who waits for an answer gets 503.
    """
    return await _set_loaded(request, name, is_loaded=False)


async def _set_loaded(request: Request, name: str, *, is_loaded: bool) -> Response:
    services = services_of(request)
    await services.queue.set_loaded(await _versions(request, services, name), is_loaded=is_loaded)
    await services.catalog.refresh()
    return Response(status_code=200)


async def _versions(request: Request, services: Services, name: str) -> list[tuple[str, str]]:
    """Return (name, version) of what a request means."""
    parameters = (await _body(request)).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInputError.at("#/parameters", "parameters must be an object")
    version = parameters.get("version")
    if "version" in parameters and not isinstance(version, str):
        raise InvalidInputError.at("#/parameters/version", 'version must be text such as "2"')
    entry = await services.catalog.find(name, version)
    if version is not None:
        return [(name, entry.manifest.version)]
    return [(name, each.manifest.version) for each in services.catalog.entries if each.manifest.name == name]


async def _body(request: Request) -> dict[str, Any]:
    raw = await read_body(request, headers_of(request), max_bytes=MOST_BODY_BYTES)
    body = parse_plain_json(raw) if raw else {}
    if not isinstance(body, dict):
        raise InvalidInputError.at("#", "the body must be a JSON object, or empty")
    return body


def _shown(entry: Entry) -> dict[str, str]:
    state, reason = "READY", ""
    if entry.is_unloaded:
        state, reason = ("UNLOADING", "") if entry.live_workers else ("UNAVAILABLE", "unloaded")
    elif not entry.live_workers:
        state, reason = "UNAVAILABLE", entry.broken or "no live worker serves it"
    return {"name": entry.manifest.name, "version": entry.manifest.version, "state": state, "reason": reason}
