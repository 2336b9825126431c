"""`/`: the page for people. Its files lie in `api/static/` as they are served, with nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"


@router.api_route("/", methods=["GET", "HEAD"])
async def show_page() -> FileResponse:
    """Show the page; it asks the public API for all that it shows."""
    return FileResponse(STATIC / "index.html", media_type="text/html")


def mount_static(app: FastAPI) -> None:
    """Serve what the page is made of."""
    app.mount("/static", StaticFiles(directory=STATIC))
