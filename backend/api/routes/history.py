"""GET, PATCH and DELETE /history: stored classifications and user feedback."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from backend.api.body import read_body
from backend.api.clients import client_of
from backend.api.deps import CatalogDep, HistoryDep, SettingsDep
from backend.api.errors import InvalidParameterError
from backend.api.history_export import MAX_IMAGES, export_csv, export_images, export_ndjson
from backend.api.json_body import parse_model
from backend.api.parameters import STRICT_BOOLEAN, STRICT_INTEGER, STRICT_TIME, check_query
from backend.api.schemas import history as schemas
from backend.api.schemas.errors import problems
from backend.api.schemas.history import StoredClassification, stored_classification, to_json
from backend.api.scopes import require_scope
from backend.catalog import Catalog
from backend.history.errors import (
    HistoryOffError,
    UnknownClassificationError,
    UnknownLabelError,
)
from backend.history.history import History
from backend.history.record import HistoryFilters, make_feedback
from backend.inference.admission import CLIENT_FACTOR
from backend.inference.errors import QueueFullError

_ID_PATTERN: Final = "^[0-9A-HJKMNP-TV-Z]{26}$"
_ID_SCHEMA: Final[dict[str, Any]] = {"pattern": _ID_PATTERN}
_MAX_NAME: Final = 64  # characters of an unknown filter in an error message
MAX_COUNT: Final = 100_000  # matching classifications; counting more takes too long
MAX_EXPORTS: Final = 8  # at a time; each may hold 7 MB for as long as its client reads slowly
_RETRY_EXPORT: Final = 10.0  # seconds
_EXPORT_TYPES: Final = {  # suffix and media type
    "ndjson": ("ndjson", "application/x-ndjson"),
    "csv": ("csv", "text/csv"),
    "images": ("zip", "application/zip"),
}
_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for")
_MAX_FEEDBACK_BYTES: Final = 10_000  # far more than any label needs
_FEEDBACK_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": schemas.FEEDBACK_SCHEMA}},
    }
}


class _IdConvertor(StringConvertor):
    """Any part of a path but a lower-case word: /history/export has other methods than an ID."""

    regex = "[^/]*[^/a-z][^/]*"


register_url_convertor("id", _IdConvertor())


_exports: Final = Counter[str]()  # running exports by client


class _ExportResponse(StreamingResponse):
    """A response that counts as an export of `client` until it is sent."""

    def __init__(self, client: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raise QueueFullError if too many exports are running; some are left to other clients.
        """
        if _exports[self._client] >= CLIENT_FACTOR * (MAX_EXPORTS - _exports.total()):
            raise QueueFullError(
                "Too many exports of the history are running. Try again later.",
                retry_after=_RETRY_EXPORT,
            )
        _exports[self._client] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            _exports[self._client] -= 1
            if not _exports[self._client]:
                del _exports[self._client]


async def _require_history(history: HistoryDep) -> History:
    if history is None:
        raise HistoryOffError
    return history


def _get_id(
    id: Annotated[  # noqa: A002 (the name in the path)
        str, Path(description="ID of the classification.", json_schema_extra=_ID_SCHEMA)
    ],
) -> str:
    """Return the ID; raise UnknownClassificationError for any other text."""
    if not re.fullmatch(_ID_PATTERN, id):
        raise UnknownClassificationError
    return id


def _get_filters(
    model: Annotated[str | None, Query(max_length=64, description="Name of the model.")] = None,
    label: Annotated[str | None, Query(max_length=500, description="Predicted label.")] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=500,
            description="Part of the file name, of the predicted or of the right label, ignoring "
            "case.",
        ),
    ] = None,
    corrected: Annotated[
        bool | None, STRICT_BOOLEAN, Query(description="Whether it has user feedback.")
    ] = None,
    wrong: Annotated[
        bool | None,
        STRICT_BOOLEAN,
        Query(description="Whether the user feedback contradicts the answer."),
    ] = None,
    in_distribution: Annotated[
        bool | None,
        STRICT_BOOLEAN,
        Query(description="Whether the image shows one of the model's classes."),
    ] = None,
    since: Annotated[
        datetime | None,
        STRICT_TIME,
        Query(description="Earliest time, inclusive; a date, or a time. UTC without an offset."),
    ] = None,
    until: Annotated[
        datetime | None, STRICT_TIME, Query(description="Latest time, exclusive; as `since`.")
    ] = None,
) -> HistoryFilters:
    return HistoryFilters(
        model=model,
        label=label,
        search=search,
        corrected=corrected,
        wrong=wrong,
        in_distribution=in_distribution,
        since=as_utc(since),
        until=as_utc(until),
    )


RequiredHistoryDep = Annotated[History, Depends(_require_history)]
FiltersDep = Annotated[HistoryFilters, Depends(_get_filters)]
IdDep = Annotated[str, Depends(_get_id)]

router = APIRouter(
    tags=["history"],
    dependencies=[require_scope("history"), Depends(check_query)],
    responses=problems(404, 422),
)


@router.head("/history", include_in_schema=False)
@router.get("/history", response_model=schemas.HistoryPage, summary="List classifications")
def list_history(
    history: RequiredHistoryDep,
    filters: FiltersDep,
    limit: Annotated[
        int,
        Query(ge=1, le=500, description="Maximum number of classifications per page."),
        STRICT_INTEGER,
    ] = 50,
    cursor: Annotated[
        str | None, Query(pattern=_ID_PATTERN, description="`next` of the previous page.")
    ] = None,
) -> Response:
    """List the classifications that match the filters, the newest first, a page at a time."""
    records = history.store.page(filters, limit + 1, cursor)
    answers = [stored_classification(record) for record in records[:limit]]
    next_cursor = answers[-1]["id"] if len(records) > limit else None
    return _json_response({"answers": answers, "next": next_cursor})


@router.delete("/history", summary="Delete classifications")
async def delete_all(
    request: Request, history: RequiredHistoryDep, filters: FiltersDep
) -> schemas.Deleted:
    """Delete the classifications that match the filters, with their feedback and thumbnails.

    Without a filter, delete all classifications that exist now.
    """
    _reject_unknown_filters(request)
    now, deleted = datetime.now(UTC), 0
    filters = replace(filters, until=min(filters.until or now, now))
    while count := await asyncio.to_thread(history.store.delete_some, filters):
        deleted += count
    return schemas.Deleted(deleted=deleted)


@router.head("/history/export", include_in_schema=False)
@router.get(
    "/history/export",
    summary="Export the history",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One line per classification, the newest first, or a zip of images.",
            "content": {
                "application/x-ndjson": {
                    "schema": {"$ref": "#/components/schemas/StoredClassification"}
                },
                "text/csv": {"schema": {"type": "string"}},
                "application/zip": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
def export(
    request: Request,
    history: RequiredHistoryDep,
    settings: SettingsDep,
    filters: FiltersDep,
    format: Annotated[  # noqa: A002 (the name in the query)
        Literal["ndjson", "csv", "images"],
        Query(
            description="One JSON object per line, a table, or a zip of the stored images in "
            "folders named after their right labels."
        ),
    ] = "ndjson",
) -> Response:
    """Stream all classifications that match the filters as a file."""
    content: Iterator[bytes] | Iterator[str]
    if format == "images":
        if history.store.count(filters, MAX_IMAGES + 1) > MAX_IMAGES:
            raise InvalidParameterError(
                f"More than {MAX_IMAGES:,} classifications match. Export fewer images at a time, "
                "for example with since and until."
            )
        content = export_images(history.store.images(filters))
    else:
        pages = history.store.pages(filters)
        content = export_ndjson(pages) if format == "ndjson" else export_csv(pages)
    suffix, media_type = _EXPORT_TYPES[format]
    headers = {"Content-Disposition": f'attachment; filename="history.{suffix}"'}
    if request.method == "HEAD":
        content = iter(())  # the server would discard the rows
    client = client_of(request.scope, settings.trusted_proxies)
    return _ExportResponse(client, content, media_type=media_type, headers=headers)


@router.head("/history/storage", include_in_schema=False)
@router.get("/history/storage", summary="Get what is stored")
def storage(
    request: Request, history: RequiredHistoryDep, settings: SettingsDep
) -> schemas.Storage:
    """Return whether images are stored, for how long, and on this machine also where."""
    stored = history.storage
    is_forwarded = any(name in request.headers for name in _PROXY_HEADERS)
    is_visible = stored.file and settings.is_local and not is_forwarded
    return schemas.Storage(
        images=stored.images, days=stored.days, location=str(stored.file) if is_visible else None
    )


@router.head("/history/accuracy", include_in_schema=False)
@router.get("/history/accuracy", summary="Accuracy by day")
def accuracy(
    history: RequiredHistoryDep,
    filters: FiltersDep,
    time_zone: Annotated[
        str, Query(max_length=100, description="Zone of the days, such as Europe/Berlin.")
    ] = "UTC",
) -> schemas.Accuracy:
    """Count the classifications that feedback confirms and contradicts, by their day."""
    days = [
        schemas.DayAccuracy(**asdict(day), accuracy=day.confirmed / (day.confirmed + day.corrected))
        for day in history.store.accuracy(filters, parse_zone(time_zone))
    ]
    confirmed, corrected = sum(day.confirmed for day in days), sum(day.corrected for day in days)
    share = confirmed / (confirmed + corrected) if days else None
    total = history.store.count(filters, MAX_COUNT + 1)
    return schemas.Accuracy(
        confirmed=confirmed,
        corrected=corrected,
        accuracy=share,
        total=total if total <= MAX_COUNT else None,
        days=days,
    )


@router.head("/history/{id:id}", include_in_schema=False)
@router.get("/history/{id:id}", response_model=StoredClassification, summary="Get a classification")
def get_one(history: RequiredHistoryDep, id: IdDep) -> Response:  # noqa: A002
    """Return a classification and its feedback."""
    return _json_response(stored_classification(history.store.get(id)))


@router.head("/history/{id:id}/image", include_in_schema=False)
@router.get(
    "/history/{id:id}/image",
    summary="Get the thumbnail of an image",
    response_class=Response,
    responses={200: {"content": {"image/webp": {"schema": {"type": "string"}}}}},
)
def image(history: RequiredHistoryDep, id: IdDep) -> Response:  # noqa: A002
    """Return the thumbnail of the image as WebP, if it is stored."""
    headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(history.store.image(id), media_type="image/webp", headers=headers)


@router.patch(
    "/history/{id:id}",
    response_model=StoredClassification,
    openapi_extra=_FEEDBACK_BODY,
    responses=problems(413, 415),
    summary="Give feedback on a classification",
)
async def give_feedback(
    request: Request,
    history: RequiredHistoryDep,
    catalog: CatalogDep,
    id: IdDep,  # noqa: A002
) -> Response:
    """Store the right label, or that none is right. Null as `correction` removes the feedback."""
    body = parse_model(schemas.Feedback, await read_body(request, _MAX_FEEDBACK_BYTES))
    own_model = (await asyncio.to_thread(history.store.get, id))["model"]
    model = body.correction_model or own_model
    if body.correction is not None:
        _require_label(catalog, model, body.correction, is_stored=model == own_model)
    feedback = make_feedback(
        body.correction,
        None if model == own_model else model,
        none_of_these=bool(body.none_of_these),
    )
    record = await asyncio.to_thread(history.store.set_feedback, id, feedback)
    return _json_response(stored_classification(record))


@router.delete("/history/", include_in_schema=False)
def delete_without_id(_: RequiredHistoryDep) -> None:
    """Reject an empty ID; else the router would redirect to the route that deletes everything."""
    raise UnknownClassificationError


@router.delete("/history/{id:id}", status_code=204, summary="Delete a classification")
def delete(history: RequiredHistoryDep, id: IdDep) -> None:  # noqa: A002
    """Delete a classification, its feedback and its thumbnail."""
    history.store.delete(id)


def _require_label(catalog: Catalog, model: str, label: str, *, is_stored: bool) -> None:
    """Raise UnknownLabelError unless `label` is a label of the model, or of its shadow.

    Any label is valid if the classification `is_stored` with this model and it is not served now.
    """
    served = [each for each in catalog.models() if each.name == model]
    if catalog.taught and (shadow := catalog.taught.find_shadow(model)):
        served.append(shadow[1])
    if manifests := [each.manifest for each in served if each.manifest]:
        if not any(label in each.labels for each in manifests):
            raise UnknownLabelError(
                f"The model {model} has no such label. GET /models lists its labels. For a label "
                "of another served model, send its name as correction_model."
            )
    elif not is_stored:
        raise UnknownLabelError(
            "The model named by correction_model is not served or not ready. GET /models lists "
            "the models and their labels."
        )


def _reject_unknown_filters(request: Request) -> None:
    """Raise InvalidParameterError for an unknown parameter: a typing error must not delete more."""
    known = HistoryFilters.__dataclass_fields__
    if unknown := [name for name in request.query_params if name not in known]:
        raise InvalidParameterError(
            f"{unknown[0][:_MAX_NAME]}: This is not a filter. The filters are {', '.join(known)}."
        )


def parse_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name; raise InvalidParameterError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a folder of zones
        raise InvalidParameterError("time_zone: This is not the name of a time zone.") from error


def as_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _json_response(value: object) -> Response:
    return Response(to_json(value), media_type="application/json")
