"""GET /health, /ready and /."""

from fastapi import APIRouter

from backend import __version__
from backend.api.deps import CatalogDep
from backend.api.schemas.classify import PROBLEM_RESPONSES, Info, Status

router = APIRouter(tags=["health"])


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="The process lives")
async def health() -> Status:
    """Answer at once, whatever the models do."""
    return Status(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="The default model answers", responses=PROBLEM_RESPONSES)
async def ready(catalog: CatalogDep) -> Status:
    """Answer 200 once the default model can classify, 503 before."""
    catalog.require_ready()
    return Status(status="ready")


@router.head("/", include_in_schema=False)
@router.get("/", summary="What this is")
async def info() -> Info:
    """Name, version and where to go next."""
    links = {
        "docs": "/docs",
        "openapi": "/openapi.json",
        "classify": "/classify",
        "batch": "/classify/batch",
        "models": "/models",
        "history": "/history",
        "health": "/health",
        "ready": "/ready",
        "metrics": "/metrics",
    }
    return Info(name="Prism", version=__version__, links=links)
