"""`/v1/models`: what can be asked for, in the OpenAI and Replicate habits at once."""

import asyncio
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query, Request

from api import wire
from api.openapi import models as openapi
from api.services import services_of
from api.wire import JSONAnswer
from ferry.examples import FREE_AXIS_SIZE, examples_of

MOST_EXAMPLES = 100

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", responses=openapi.MODELS, response_class=JSONAnswer)
async def list_models(request: Request) -> JSONAnswer:
    """List the models with their versions, signatures and live workers; and the versions that cannot be loaded."""
    catalog = services_of(request).catalog
    groups = groupby(catalog.entries, key=lambda entry: entry.manifest.name)
    models = [wire.model(list(group), catalog.aliases_of(name)) for name, group in groups]
    return JSONAnswer(
        {"object": "list", "data": models, "results": models, "next": None, "previous": None,
         "broken": [wire.broken(each) for each in catalog.broken]}
    )  # fmt: skip


@router.get("/{name}", responses=openapi.MODEL, response_class=JSONAnswer)
async def show_model(request: Request, name: str) -> JSONAnswer:
    """Show one model."""
    catalog = services_of(request).catalog
    await catalog.find(name)
    entries = [entry for entry in catalog.entries if entry.manifest.name == name]
    return JSONAnswer(wire.model(entries, catalog.aliases_of(name)))


@router.get("/{name}/examples", responses=openapi.EXAMPLES, response_class=JSONAnswer)
async def show_examples(
    request: Request,
    name: str,
    version: Annotated[str | None, Query(description="a number or an alias; left out, the latest")] = None,
    count: Annotated[int, Query(ge=1, le=MOST_EXAMPLES)] = 1,
) -> JSONAnswer:
    """Show inputs that the model takes, each as the `input` of a job, to try it with.

    They come from `samples/*.npz` beside the model, with what they are (`truth`); where there are none, they are made
    up from its signature (`made_up`). An input is one row, or whole tensors where the model has no rows. Of large ones
    there are fewer than `count`.
    """
    catalog = services_of(request).catalog
    entry = await catalog.find(name, version)
    size = entry.profile.free_axis_size if entry.profile else None
    made = await asyncio.to_thread(
        examples_of, entry.manifest, catalog.folder_of(entry), count, free_axis_size=size or FREE_AXIS_SIZE
    )
    return JSONAnswer(wire.examples(entry, made))
