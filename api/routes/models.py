"""`/v1/models`: what can be asked for, in the OpenAI and Replicate habits at once."""

from itertools import groupby

from fastapi import APIRouter, Request

from api import openapi, wire
from api.services import services_of
from api.wire import JSONAnswer

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", responses=openapi.MODELS, response_class=JSONAnswer)
async def list_models(request: Request) -> JSONAnswer:
    """List the models with their versions, signatures and live workers."""
    catalog = services_of(request).catalog
    groups = groupby(catalog.entries, key=lambda entry: entry.manifest.name)
    models = [wire.model(list(group), catalog.aliases_of(name)) for name, group in groups]
    return JSONAnswer({"object": "list", "data": models, "results": models, "next": None, "previous": None})


@router.get("/{name}", responses=openapi.MODEL, response_class=JSONAnswer)
async def show_model(request: Request, name: str) -> JSONAnswer:
    """Show one model."""
    catalog = services_of(request).catalog
    await catalog.find(name)
    entries = [entry for entry in catalog.entries if entry.manifest.name == name]
    return JSONAnswer(wire.model(entries, catalog.aliases_of(name)))
