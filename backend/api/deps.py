"""What a route asks for, as annotated parameters."""

from typing import Annotated, Final, TypedDict

from fastapi import Depends, Query, Request
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from backend.catalog import Catalog
from backend.history.history import History
from backend.inference.classifier import Classifier
from backend.settings import Settings
from backend.telemetry.metrics import Metrics
from calibration.apply import COVERAGES

DEFAULT_COVERAGE: Final = 0.95


class State(TypedDict):
    """What the lifespan yields."""

    catalog: Catalog
    settings: Settings
    metrics: Metrics
    history: History | None


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.state.catalog
    return catalog


async def _settings(request: Request) -> Settings:
    settings: Settings = request.state.settings
    return settings


async def _history(request: Request) -> History | None:
    history: History | None = request.state.history
    return history


async def _request_id(request: Request) -> str:
    return str(request.state.request_id)


CatalogDep = Annotated[Catalog, Depends(_catalog)]
SettingsDep = Annotated[Settings, Depends(_settings)]
HistoryDep = Annotated[History | None, Depends(_history)]
RequestIdDep = Annotated[str, Depends(_request_id)]


async def choose(request: Request, catalog: Catalog, name: str | None, within: float) -> Classifier:
    """The classifier `name` (None: the default one), noted in the request for those who count.

    One that still loads is waited for, `within` seconds at most.
    """
    request.state.model_name = catalog.entry(name or catalog.default).name
    return await catalog.get(name, within)


def _coverage(asked: str) -> float:
    """One of COVERAGES, asked for as a fraction or in percent."""
    try:
        number = float(asked)
    except ValueError:
        number = 0.0
    for coverage in COVERAGES:
        if number in (coverage, round(100 * coverage)):
            return coverage
    raise PydanticCustomError("coverage", "0.9, 0.95 or 0.99 is expected")


ModelParam = Annotated[
    str | None, Query(max_length=64, description="name of a served model; default: the default one")
]
TopKParam = Annotated[
    int, Query(ge=1, le=10_000, description="how many of the most probable classes `top` lists")
]
ProbabilitiesParam = Annotated[
    bool, Query(description="whether `probabilities`, one for each class, is in the answer")
]
ModelInputParam = Annotated[
    bool,
    Query(
        description="whether `model_input`, the picture as the model is given it, is in the answer"
    ),
]
StoreParam = Annotated[
    bool, Query(description="whether the answer is kept in the history, where there is one")
]
CoverageParam = Annotated[
    float,
    BeforeValidator(_coverage),
    Query(
        description="how often `prediction_set` holds the right label; 90, 95 and 99 are taken too",
        json_schema_extra={"enum": list(COVERAGES)},
    ),
]
