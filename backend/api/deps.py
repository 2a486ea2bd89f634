"""Dependencies and query parameters of the routes."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypedDict

from fastapi import Depends, Query, Request
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from backend.api.parameters import STRICT_BOOLEAN, STRICT_INTEGER, parse_number
from backend.catalog import AUTO, Catalog
from backend.history.history import History
from backend.history.monitor import DriftMonitor
from backend.inference.images.image_reader import ImageReader
from backend.served_model import ServedModel
from backend.settings import Settings
from backend.shadows import Shadows
from backend.telemetry.metrics import Metrics
from calibration.apply import COVERAGES

DEFAULT_COVERAGE: Final = 0.95


class AppState(TypedDict):
    """State that the lifespan yields. `reload` reads the models again."""

    catalog: Catalog
    settings: Settings
    metrics: Metrics
    history: History | None
    drift_monitor: DriftMonitor | None
    shadows: Shadows | None
    image_reader: ImageReader
    reload: Callable[[], None]


def _from_state(name: str) -> Any:
    """Return the dependency on the attribute `name` of a request's state."""

    async def get(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(get)


CatalogDep = Annotated[Catalog, _from_state("catalog")]
SettingsDep = Annotated[Settings, _from_state("settings")]
MetricsDep = Annotated[Metrics, _from_state("metrics")]
HistoryDep = Annotated[History | None, _from_state("history")]
DriftMonitorDep = Annotated[DriftMonitor | None, _from_state("drift_monitor")]
ImageReaderDep = Annotated[ImageReader, _from_state("image_reader")]
RequestIdDep = Annotated[str, _from_state("request_id")]


async def get_models(
    request: Request, catalog: Catalog, name: str | None, time_limit: float
) -> tuple[list[ServedModel], float]:
    """Return the models to ask in order for `name` (None: the default), and the time left.

    The first one is loaded, within `time_limit` seconds; others are loaded if they are asked. Set
    the request's `model_name`. Raise UnknownModelError, and ModelNotReadyError if one has failed.
    """
    models = [catalog.get(each) for each in catalog.resolve(name)]
    request.scope["state"]["model_name"] = models[0].name if len(models) == 1 else AUTO
    for each in models:
        if each.state == "failed" and each.classifier is None:
            raise each.not_ready()
    if models[0].classifier is not None:
        return models, time_limit
    started = time.monotonic()
    await models[0].load(time_limit)
    return models, time_limit - (time.monotonic() - started)


def _parse_coverage(text: str) -> float:
    """Return the member of COVERAGES that `text` states as a fraction or in percent."""
    try:
        number = parse_number(text)
    except ValueError:
        number = 0.0
    for coverage in COVERAGES:
        if number in (coverage, round(100 * coverage)):
            return coverage
    raise PydanticCustomError("coverage", "must be 0.9, 0.95 or 0.99")


ModelParam = Annotated[
    str | None,
    Query(
        max_length=128,
        description="Name of a served model, or `auto`: the first specialized model for which the "
        "image is in distribution. `name@version` and `name@latest` name a version of a taught "
        "model. If omitted, the default model.",
    ),
]
BackboneParam = Annotated[
    str,
    Query(
        max_length=64,
        description="Name of a served model whose network ends in global pooling and one linear "
        "layer, such as `photos`, or of a model taught on it.",
    ),
]
TopKParam = Annotated[
    int,
    Query(ge=1, le=10_000, description="Number of most probable classes in `top`."),
    STRICT_INTEGER,
]
ProbabilitiesParam = Annotated[
    bool,
    STRICT_BOOLEAN,
    Query(description="Whether to return `probabilities`, one value for each class."),
]
ModelInputParam = Annotated[
    bool,
    STRICT_BOOLEAN,
    Query(description="Whether to return `model_input`, the preprocessed image."),
]
ExplainParam = Annotated[
    bool,
    STRICT_BOOLEAN,
    Query(description="Whether to return `explanation`, a heat map of what decided. Takes longer."),
]
StoreParam = Annotated[
    bool,
    STRICT_BOOLEAN,
    Query(description="Whether to store the classification in the history."),
]
CoverageParam = Annotated[
    float,
    BeforeValidator(_parse_coverage),
    Query(
        description="Share of images for which `prediction_set` contains the right label. "
        "90, 95 and 99 are also accepted.",
        json_schema_extra={"enum": list(COVERAGES)},
    ),
]
