"""GET /health, GET /ready and GET /."""

from fastapi import APIRouter
from pydantic import BaseModel

from backend import __version__
from backend.api.deps import CatalogDep, ImageReaderDep

router = APIRouter(tags=["health"])


class Status(BaseModel):
    """Status of the service."""

    status: str


class ServiceInfo(BaseModel):
    """Name and version of the service, and its routes."""

    name: str
    version: str
    links: dict[str, str]


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Liveness probe")
async def health(reader: ImageReaderDep) -> Status:
    """Return 200 as long as the process works, independent of the models.

    503 means that it should be replaced: decoders do not return.
    """
    reader.require_responsive()
    return Status(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Readiness probe")
async def ready(catalog: CatalogDep) -> Status:
    """Return 200 once the default model can classify, 503 before."""
    catalog.require_ready()
    return Status(status="ready")


@router.head("/", include_in_schema=False)
@router.get("/", summary="Service information")
async def info() -> ServiceInfo:
    """Return the name and version of the service, and links to its routes."""
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
    return ServiceInfo(name="Prism", version=__version__, links=links)
