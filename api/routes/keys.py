"""`/v1/key`: what the API key of a request may do. Keys are made, replaced and revoked by `ferry keys` alone."""

from typing import Any

from fastapi import APIRouter, Request

from api.context import caller_of
from api.openapi import fleet as openapi
from api.services import services_of
from api.wire import JSONAnswer
from ferry.access import Scope

router = APIRouter(prefix="/v1/key", tags=["keys"])


@router.get("", responses=openapi.KEY, response_class=JSONAnswer)
async def show_key(request: Request) -> JSONAnswer:
    """Show who asks: the key's id, name, owner, scopes and limits. Where no key is needed, anybody may do all."""
    key = caller_of(request).key
    answer: dict[str, Any] = {"object": "key", "needed": not services_of(request).door.gate.is_open}
    if key is None:
        return JSONAnswer(
            answer
            | {"id": None, "name": None, "owner": None, "scopes": sorted(Scope)}
            | {"rate_per_s": None, "max_unfinished": None}
        )
    return JSONAnswer(
        answer
        | {"id": key.id, "name": key.name, "owner": key.owner, "scopes": sorted(key.scopes)}
        | {"rate_per_s": key.rate_per_s, "max_unfinished": key.max_unfinished}
    )
