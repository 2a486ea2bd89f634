"""What a route asks for, as annotated parameters."""

from typing import Annotated, TypedDict

from fastapi import Depends, Query, Request

from backend.catalog import Catalog
from backend.settings import Settings
from backend.telemetry.metrics import Metrics


class State(TypedDict):
    """What the lifespan yields."""

    catalog: Catalog
    settings: Settings
    metrics: Metrics


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.state.catalog
    return catalog


async def _settings(request: Request) -> Settings:
    settings: Settings = request.state.settings
    return settings


async def _request_id(request: Request) -> str:
    return str(request.state.request_id)


CatalogDep = Annotated[Catalog, Depends(_catalog)]
SettingsDep = Annotated[Settings, Depends(_settings)]
RequestIdDep = Annotated[str, Depends(_request_id)]

ModelParam = Annotated[
    str | None, Query(max_length=64, description="name of a served model; default: the default one")
]
TopKParam = Annotated[
    int, Query(ge=1, le=10_000, description="how many of the most probable classes `top` lists")
]
ProbabilitiesParam = Annotated[
    bool, Query(description="whether `probabilities`, one for each class, is in the answer")
]
