"""GET /metrics."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import PlainTextResponse, Response

from backend.telemetry.metrics import Metrics

router = APIRouter(tags=["health"])


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.state.metrics
    return metrics


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", summary="What Prometheus scrapes", response_class=PlainTextResponse)
def metrics(
    metrics: Annotated[Metrics, Depends(_metrics)],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """All metrics, of every worker, as text; as OpenMetrics where `Accept` asks for it."""
    content, media_type = metrics.expose(accept)  # in a thread: the loop goes on
    return Response(content, headers={"Content-Type": media_type})
