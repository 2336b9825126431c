"""`GET /metrics`: the fleet's numbers for Prometheus. Every API process tells the same; a worker tells its own."""

from fastapi import APIRouter, Request, Response

from api.openapi import fleet as openapi
from api.services import services_of
from ferry.errors import NotFoundError
from ferry.metrics import CONTENT_TYPE, render

router = APIRouter(tags=["metrics"])


@router.get("/metrics", responses=openapi.METRICS, response_class=Response)
async def show_metrics(request: Request) -> Response:
    """Show queues, jobs by outcome, workers, bulk batches, refusals and requests in Prometheus' text format.

    Where API keys are needed it takes one with scope `metrics` or `admin`.
    """
    figures = services_of(request).figures
    if figures is None:
        raise NotFoundError("this API keeps no counts")
    return Response(render(await figures.read()), media_type=CONTENT_TYPE)
