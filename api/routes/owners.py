"""`/v1/owners`: erase everything of one owner. For admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.openapi import owners as openapi
from api.services import services_of
from api.wire import JSONAnswer
from ferry.errors import NotFoundError

router = APIRouter(prefix="/v1/owners", tags=["owners"])


@router.delete("/{owner}", responses=openapi.ERASED, response_class=JSONAnswer)
async def erase_owner(
    request: Request,
    owner: str,
    *,
    revoke: Annotated[bool, Query(description="revoke the owner's API keys first; else they must be revoked")] = False,
    dry_run: Annotated[bool, Query(description="only count")] = False,
) -> JSONAnswer:
    """Erase an owner: jobs, dead letters, batches, files and API keys.

    Jobs and batches that are not done are canceled. Safe to repeat: a second call finds nothing. 409 while keys of the
    owner are in force and `revoke` is not set.
    """
    eraser = services_of(request).eraser
    if eraser is None:
        raise NotFoundError("this API keeps nothing by owner")
    erased = await (eraser.count(owner) if dry_run else eraser.erase(owner, is_revoking=revoke))
    numbers = {name: getattr(erased, name) for name in ("keys", "jobs", "dead_letters", "batches", "files")}
    return JSONAnswer({"object": "erasure", "owner": owner, "dry_run": dry_run, **numbers})
