"""GET, PATCH and DELETE /history: what was asked, what was answered, what was right."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from backend.api import body as limits
from backend.api.deps import CatalogDep, HistoryDep, SettingsDep
from backend.api.middleware import api_keys
from backend.api.schemas.classify import PROBLEM_RESPONSES
from backend.api.schemas.history import (
    Accuracy,
    Correction,
    DayAccuracy,
    Deleted,
    HistoryPage,
    StoredAnswer,
    dumps,
    ndjson,
    stored_answer,
    table,
)
from backend.catalog import Catalog
from backend.history.errors import HistoryOffError, UnknownLabelError
from backend.history.filters import Search
from backend.history.history import History

_ID: Final = "^[0-9A-HJKMNP-TV-Z]{26}$"
_MAX_BODY: Final = 10_000  # bytes of a correction, far more than any label needs
_CORRECTION: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Correction.model_json_schema()}},
    }
}


async def _require_access(request: Request, settings: SettingsDep) -> None:
    """The history is for those with a key; where there are no keys, for nobody unless opened."""
    if not (settings.history_open or getattr(request.state, api_keys.AUTHORIZED, False)):
        raise api_keys.missing(
            " None is set up: the operator sets PRISM_API_KEYS, or PRISM_HISTORY_OPEN=true to open "
            "the history to everybody."
        )


async def _past(history: HistoryDep) -> History:
    if history is None:
        raise HistoryOffError
    return history


def _search(
    model: Annotated[str | None, Query(description="name of the model")] = None,
    label: Annotated[str | None, Query(description="the label that was predicted")] = None,
    corrected: Annotated[
        bool | None, Query(description="whether a person has corrected or confirmed it")
    ] = None,
    in_distribution: Annotated[
        bool | None, Query(description="whether the picture is like what the model knows")
    ] = None,
    since: Annotated[
        datetime | None, Query(description="from then on; UTC unless it says otherwise")
    ] = None,
    until: Annotated[datetime | None, Query(description="before then")] = None,
) -> Search:
    return Search(model, label, corrected, in_distribution, _utc(since), _utc(until))


PastDep = Annotated[History, Depends(_past)]
SearchDep = Annotated[Search, Depends(_search)]

router = APIRouter(
    tags=["history"], dependencies=[Depends(_require_access)], responses=PROBLEM_RESPONSES
)


@router.get("/history", response_model=HistoryPage, summary="What was answered, newest first")
def page(
    past: PastDep,
    search: SearchDep,
    limit: Annotated[int, Query(ge=1, le=500, description="answers of one page at most")] = 50,
    cursor: Annotated[
        str | None, Query(pattern=_ID, description="`next` of the page before")
    ] = None,
) -> Response:
    """List the answers that fit, a page at a time."""
    found = past.store.page(search, limit + 1, cursor)
    answers = [stored_answer(kept) for kept in found[:limit]]
    following = answers[-1]["id"] if len(found) > limit else None
    return _json({"answers": answers, "next": following})


@router.delete("/history", summary="Forget all")
async def clear(past: PastDep) -> Deleted:
    """Forget every answer that has been given until now."""
    until, deleted = datetime.now(UTC), 0
    while some := await asyncio.to_thread(past.store.delete_some, until):
        deleted += some
    return Deleted(deleted=deleted)


@router.get(
    "/history/export",
    summary="All that fit, as a file",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One line per answer, the newest first.",
            "content": {
                "application/x-ndjson": {"schema": StoredAnswer.model_json_schema()},
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    },
)
def export(
    past: PastDep,
    search: SearchDep,
    format: Annotated[  # noqa: A002 (the name in the query)
        Literal["ndjson", "csv"], Query(description="one JSON object per line, or a table")
    ] = "ndjson",
) -> Response:
    """Stream every answer that fits."""
    pages = past.store.pages(search)
    return StreamingResponse(
        ndjson(pages) if format == "ndjson" else table(pages),
        media_type="application/x-ndjson" if format == "ndjson" else "text/csv",
        headers={"Content-Disposition": f'attachment; filename="history.{format}"'},
    )


@router.get("/history/accuracy", summary="How often it was right, by day")
def accuracy(past: PastDep, search: SearchDep) -> Accuracy:
    """Count what people have confirmed and corrected, by the day of the answer."""
    days = [
        DayAccuracy(
            day=one.day,
            confirmed=one.confirmed,
            corrected=one.corrected,
            accuracy=one.confirmed / (one.confirmed + one.corrected),
        )
        for one in past.store.accuracy(search)
    ]
    confirmed, corrected = sum(day.confirmed for day in days), sum(day.corrected for day in days)
    looked_at = confirmed + corrected
    return Accuracy(
        confirmed=confirmed,
        corrected=corrected,
        accuracy=confirmed / looked_at if looked_at else None,
        days=days,
    )


@router.get("/history/{id}", response_model=StoredAnswer, summary="One answer")
def one(past: PastDep, id: str) -> Response:  # noqa: A002 (the name in the path)
    """Tell what was answered, and what a person said of it."""
    return _json(stored_answer(past.store.get(id)))


@router.get(
    "/history/{id}/image",
    summary="The picture, small",
    response_class=Response,
    responses={200: {"content": {"image/webp": {"schema": {"type": "string"}}}}},
)
def image(past: PastDep, id: str) -> Response:  # noqa: A002
    """Give the small copy of the picture, where it is kept."""
    headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(past.store.picture(id), media_type="image/webp", headers=headers)


@router.patch(
    "/history/{id}",
    response_model=StoredAnswer,
    openapi_extra=_CORRECTION,
    summary="Correct or confirm an answer",
)
async def correct(
    request: Request,
    past: PastDep,
    catalog: CatalogDep,
    id: str,  # noqa: A002
) -> Response:
    """Keep the right label; the one that was predicted confirms the answer, null forgets."""
    said = _correction(await limits.read(request, _MAX_BODY))
    kept = await asyncio.to_thread(past.store.get, id)
    if said is not None:
        _require_label(catalog, kept["model"], said)
    return _json(stored_answer(await asyncio.to_thread(past.store.correct, id, said)))


@router.delete("/history/{id}", status_code=204, summary="Forget one answer")
def delete(past: PastDep, id: str) -> None:  # noqa: A002
    """Forget the answer, its correction and its picture."""
    past.store.delete(id)


def _correction(body: bytes) -> str | None:
    try:
        return Correction.model_validate_json(body).correction
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**one, "loc": ("body", *(one["loc"] or ("body",)))} for one in found]
        ) from error


def _require_label(catalog: Catalog, model: str, label: str) -> None:
    """Raise UnknownLabelError where the model is served and has no such label."""
    served = next((entry for entry in catalog.entries() if entry.name == model), None)
    if served and served.classifier and label not in served.classifier.manifest.labels:
        raise UnknownLabelError(f"The model {model} has no such label. GET /models lists them.")


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _json(value: object) -> Response:
    return Response(dumps(value), media_type="application/json")
