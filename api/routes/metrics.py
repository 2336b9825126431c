"""`GET /metrics`: the fleet's numbers for Prometheus. Every API process tells the same; a worker tells its own."""

from fastapi import APIRouter, Request, Response

from api.openapi import fleet as openapi
from api.services import services_of
from ferry.errors import NotFoundError
from ferry.local.part_states import read_states
from ferry.metrics import CONTENT_TYPE, PART_RESTARTS, PART_UP, Labels, Name, Values, render

router = APIRouter(tags=["metrics"])


@router.get("/metrics", responses=openapi.METRICS, response_class=Response)
async def show_metrics(request: Request) -> Response:
    """Show queues, jobs by outcome, workers, bulk batches, refusals and requests in Prometheus' text format.

    Where API keys are needed it takes one with scope `metrics` or `admin`.
    """
    figures = services_of(request).figures
    if figures is None:
        raise NotFoundError("this API keeps no counts")
    up: dict[Labels, float] = {}
    restarts: dict[Labels, float] = {}
    for state in read_states(services_of(request).settings.data_dir):
        up[state.name,], restarts[state.name,] = float(state.is_up), float(state.restarts)
    parts: list[tuple[Name, Values]] = [(PART_UP, up), (PART_RESTARTS, restarts)]
    return Response(render([*await figures.read(), *parts]), media_type=CONTENT_TYPE)
