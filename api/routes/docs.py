"""`/docs` and `/openapi.json`: the API's description, in Swagger UI. All of its files are served from here.

Swagger UI comes with the package fastapi-offline; nothing of that package is imported.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from api.addresses import location_of
from api.routes.pages import STATIC
from api.wire import JSONAnswer
from ferry.errors import NotFoundError

router = APIRouter(include_in_schema=False)

_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css"})


def _folder() -> Path:
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("Swagger UI's files are missing: install fastapi-offline (`uv sync`)")
    return Path(found.origin).parent / "static"


_SWAGGER_UI = _folder()


@router.api_route("/docs", methods=["GET", "HEAD"], response_class=FileResponse)
async def show_docs() -> FileResponse:
    """Show the description. It holds nothing of anybody; /openapi.json, which it asks for, needs a key."""
    return FileResponse(STATIC / "docs.html", media_type="text/html")


@router.get("/static/swagger-ui/{name}", response_class=FileResponse)
async def show_file(name: str) -> FileResponse:
    """Return a file of Swagger UI."""
    if name not in _FILES:
        raise NotFoundError(f"Swagger UI has no file {name[:64]!r} here; it has {', '.join(sorted(_FILES))}")
    return FileResponse(_SWAGGER_UI / name)


@router.get("/openapi.json", response_class=JSONAnswer)
async def show_openapi(request: Request) -> JSONAnswer:
    """Return the description; `servers` names the prefix or the public URL where there is one."""
    described: dict[str, Any] = request.app.openapi()
    if server := location_of(request, ""):
        described = described | {"servers": [{"url": server}]}
    return JSONAnswer(described)
