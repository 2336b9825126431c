"""`/v2/models/{name}`: what a model takes and gives, and how it is batched (Open Inference Protocol)."""

from fastapi import APIRouter, Request

from api import oip_wire, submission
from api.openapi import oip_models as openapi
from api.services import services_of
from api.wire import JSONAnswer

router = APIRouter(prefix="/v2/models", tags=["open inference protocol"])


@router.get("/{name}", responses=openapi.METADATA, response_class=JSONAnswer)
async def show_metadata(request: Request, name: str) -> JSONAnswer:
    """Show the inputs and outputs of a model's latest version, and which versions there are."""
    return await _metadata(request, name, None)


@router.get("/{name}/versions/{version}", responses=openapi.METADATA, response_class=JSONAnswer)
async def show_version_metadata(request: Request, name: str, version: str) -> JSONAnswer:
    """Show the inputs and outputs of one version."""
    return await _metadata(request, name, version)


@router.get("/{name}/ready", responses=openapi.READY, response_class=JSONAnswer)
async def show_ready(request: Request, name: str) -> JSONAnswer:
    """Answer 200 while a live worker serves a model's latest version; else 503 with the reason."""
    return await _ready(request, name, None)


@router.get("/{name}/versions/{version}/ready", responses=openapi.READY, response_class=JSONAnswer)
async def show_version_ready(request: Request, name: str, version: str) -> JSONAnswer:
    """Answer 200 while a live worker serves one version; else 503 with the reason."""
    return await _ready(request, name, version)


@router.get("/{name}/config", responses=openapi.CONFIG, response_class=JSONAnswer)
async def show_config(request: Request, name: str) -> JSONAnswer:
    """Show how a model's latest version is batched; `max_batch_size` is 0 where each job is a run of its own."""
    return JSONAnswer(oip_wire.config(await services_of(request).catalog.find(name)))


@router.get("/{name}/versions/{version}/config", responses=openapi.CONFIG, response_class=JSONAnswer)
async def show_version_config(request: Request, name: str, version: str) -> JSONAnswer:
    """Show how one version is batched."""
    return JSONAnswer(oip_wire.config(await services_of(request).catalog.find(name, version)))


async def _ready(request: Request, name: str, version: str | None) -> JSONAnswer:
    services = services_of(request)
    entry = await submission.live_entry(services, await services.catalog.find(name, version))
    return JSONAnswer({"name": entry.manifest.name, "ready": True})


async def _metadata(request: Request, name: str, version: str | None) -> JSONAnswer:
    catalog = services_of(request).catalog
    entry = await catalog.find(name, version)
    versions = [each.manifest.version for each in catalog.entries if each.manifest.name == name]
    return JSONAnswer(oip_wire.metadata(entry, versions))
