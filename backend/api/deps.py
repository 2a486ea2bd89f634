"""What a route asks for, as annotated parameters."""

from typing import Annotated, TypedDict

from fastapi import Depends, Query, Request

from backend.catalog import Catalog
from backend.inference.classifier import Classifier
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


async def choose(request: Request, catalog: Catalog, name: str | None, within: float) -> Classifier:
    """The classifier `name` (None: the default one), noted in the request for those who count.

    One that still loads is waited for, `within` seconds at most.
    """
    request.state.model_name = catalog.entry(name or catalog.default).name
    return await catalog.get(name, within)


ModelParam = Annotated[
    str | None, Query(max_length=64, description="name of a served model; default: the default one")
]
TopKParam = Annotated[
    int, Query(ge=1, le=10_000, description="how many of the most probable classes `top` lists")
]
ProbabilitiesParam = Annotated[
    bool, Query(description="whether `probabilities`, one for each class, is in the answer")
]
