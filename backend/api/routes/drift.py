"""GET /history/drift: how the images of a model, and its answers, have changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from backend.api.deps import CatalogDep
from backend.api.parameters import STRICT_TIME, check_query
from backend.api.routes.history import RequiredHistoryDep, as_utc, parse_zone
from backend.api.schemas.drift import DriftReport, make_report
from backend.api.schemas.errors import problems
from backend.api.scopes import require_scope
from backend.catalog import AUTO, Catalog
from backend.history.monitor import read_drift
from backend.history.record import HistoryFilters
from backend.inference.errors import UnknownModelError
from backend.inference.models.artifact import Manifest
from backend.taught_models import LATEST

DEFAULT_DAYS: Final = 30

router = APIRouter(
    tags=["history"],
    dependencies=[require_scope("history"), Depends(check_query)],
    responses=problems(404, 422),
)


@router.head("/history/drift", include_in_schema=False)
@router.get("/history/drift", summary="Drift of a model")
def drift(
    history: RequiredHistoryDep,
    catalog: CatalogDep,
    model: Annotated[
        str,
        Query(
            max_length=100,
            description="Name of the model, or NAME@VERSION. Without a version, the one that is "
            "served.",
        ),
    ],
    since: Annotated[
        datetime | None,
        STRICT_TIME,
        Query(
            description="Start of `days`, inclusive; a date, or a time. UTC without an offset. "
            "If omitted, 30 days before `until`."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        STRICT_TIME,
        Query(description="Ignore classifications from this time on; as `since`."),
    ] = None,
    time_zone: Annotated[
        str, Query(max_length=100, description="Zone of the days, such as Europe/Berlin.")
    ] = "UTC",
) -> DriftReport:
    """Compare the newest images of a model with the first ones of its version.

    The tests are sequential: while nothing changes, a model has at most one false alert in 30 days
    on average, however often they are read. Many images of one person in a row can cause more.
    """
    zone, end = parse_zone(time_zone), as_utc(until)
    name, _, version = model.partition("@")
    if name == AUTO:
        raise UnknownModelError(
            f"{AUTO} is not a model: the drift is that of the models that it asks, "
            f"{', '.join(catalog.resolve(AUTO))}."
        )
    if version == LATEST:
        version = catalog.latest_version(name) or ""
    version = version or catalog.active_version(name) or history.store.newest_version(name) or ""
    filters = HistoryFilters(model=name, since=catalog.created(name, version), until=end)
    found = read_drift(history.store, filters, version)
    if not found.images:
        catalog.get(name)  # raises UnknownModelError
    start = as_utc(since) or _days_before(end or datetime.now(UTC), DEFAULT_DAYS)
    filters = replace(filters, since=max(start, filters.since or start))
    days = history.store.days(filters, version, found.coverage, zone)
    manifest = _manifest(catalog, name, version)
    return make_report(name, version or None, found, days, manifest)


def _manifest(catalog: Catalog, name: str, version: str) -> Manifest | None:
    """Return the manifest of a version if it is served."""
    served = next((each for each in catalog.models() if each.name == name), None)
    manifest = served.manifest if served else None
    return manifest if manifest and manifest.version == version else None


def _days_before(time: datetime, days: int) -> datetime:
    try:
        return time - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
