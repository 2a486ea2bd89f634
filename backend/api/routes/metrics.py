"""GET /metrics."""

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import PlainTextResponse, Response

from backend.api.deps import CatalogDep, DriftMonitorDep, MetricsDep

router = APIRouter(tags=["health"])


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics(
    metrics: MetricsDep,
    monitor: DriftMonitorDep,
    catalog: CatalogDep,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Return the metrics of all workers as text, or as OpenMetrics if `Accept` requests it.

    The gauges of the drift are those of an earlier request, from a minute ago on.
    """
    models = catalog.models()
    metrics.set_versions(
        (model.name, model.manifest.version) for model in models if model.manifest is not None
    )
    if monitor is not None:
        monitor.refresh([model.name for model in models])
    content, media_type = metrics.expose(accept)  # in a thread, as this route is not async
    return Response(content, headers={"Content-Type": media_type})
