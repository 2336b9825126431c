"""`/`: the page for people. Its files lie in `api/static/` as they are served, with nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from api.addresses import IS_BARE, location_of

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"


@router.api_route("/", methods=["GET", "HEAD"], response_class=FileResponse)
async def show_page(request: Request) -> Response:
    """Show the page; it asks the public API for all that it shows, by URLs relative to its own."""
    if request.scope.get(IS_BARE):  # relative URLs need the slash
        return RedirectResponse(location_of(request, "/"))
    return FileResponse(STATIC / "index.html", media_type="text/html")


def mount_static(app: FastAPI) -> None:
    """Serve what the page is made of."""
    app.mount("/static", StaticFiles(directory=STATIC))
