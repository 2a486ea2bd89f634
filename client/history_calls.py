"""The requests of the classification history and the parsers of their responses."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

from .calls import Call
from .drift import Drift, parse_drift
from .history_types import (
    Accuracy,
    HistoryFilters,
    HistoryPage,
    HistoryStorage,
    StoredClassification,
)
from .parsing import (
    Object,
    as_bool,
    as_datetime,
    as_list,
    as_number,
    as_object,
    as_string,
    optional,
    parse_object,
    parse_result,
)

T = TypeVar("T")


def page(filters: HistoryFilters, limit: int, cursor: str | None) -> Call[HistoryPage]:
    """Return the request for one page of classifications."""
    query = filters.query() | {"limit": str(limit)}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", "/history", _json(_page), query)


def get(classification_id: str) -> Call[StoredClassification]:
    """Return the request for one classification."""
    return Call("GET", _path(classification_id), _json(_stored))


def image(classification_id: str) -> Call[bytes]:
    """Return the request for the thumbnail of an image."""
    return Call("GET", f"{_path(classification_id)}/image", lambda body: body)


def correct(
    classification_id: str, label: str | None, model: str | None
) -> Call[StoredClassification]:
    """Return the request that sets or removes the right label."""
    body = {"correction": label}
    if model is not None:
        body["correction_model"] = model
    return Call("PATCH", _path(classification_id), _json(_stored), json=body)


def none_of_these(classification_id: str) -> Call[StoredClassification]:
    """Return the request that sets the feedback that no label is right."""
    body = {"none_of_these": True}
    return Call("PATCH", _path(classification_id), _json(_stored), json=body)


def delete(classification_id: str) -> Call[None]:
    """Return the request that deletes one classification."""
    return Call("DELETE", _path(classification_id), lambda _: None)


def clear(filters: HistoryFilters) -> Call[int]:
    """Return the request that deletes all matching classifications."""

    def parse(obj: Object) -> int:
        return int(as_number(obj.get("deleted"), "deleted"))

    return Call("DELETE", "/history", _json(parse), filters.query())


def storage() -> Call[HistoryStorage]:
    """Return the request for what the backend stores."""
    return Call("GET", "/history/storage", _json(_storage))


def accuracy(filters: HistoryFilters, time_zone: str) -> Call[Accuracy]:
    """Return the request for the accuracy according to the feedback."""
    query = filters.query() | {"time_zone": time_zone}
    return Call("GET", "/history/accuracy", _json(_accuracy), query)


def drift(
    model: str, since: datetime | None, until: datetime | None, time_zone: str
) -> Call[Drift]:
    """Return the request for the drift of a model."""
    query = {"model": model, "time_zone": time_zone}
    query |= HistoryFilters(since=since, until=until).query()
    return Call("GET", "/history/drift", _json(parse_drift), query)


def export_query(filters: HistoryFilters, file_format: str) -> dict[str, str]:
    """Return the query of /history/export."""
    return filters.query() | {"format": file_format}


def _path(classification_id: str) -> str:
    return f"/history/{quote(classification_id, safe='')}"


def _json(parse: Callable[[Object], T]) -> Callable[[bytes], T]:
    return lambda body: parse(parse_object(body))


def _page(obj: Object) -> HistoryPage:
    items = as_list(obj.get("answers"), "answers")
    return HistoryPage(
        items=tuple(_stored(as_object(item, "answers[]")) for item in items),
        next=optional(obj, "next", as_string),
    )


def _storage(obj: Object) -> HistoryStorage:
    days = optional(obj, "days", as_number)
    return HistoryStorage(
        images=as_bool(obj.get("images"), "images"),
        days=None if days is None else int(days),
        location=optional(obj, "location", as_string),
    )


def _accuracy(obj: Object) -> Accuracy:
    days = [as_object(item, "days[]") for item in as_list(obj.get("days"), "days")]
    by_day = {as_string(day.get("day"), "day"): Accuracy(*_counts(day), {}) for day in days}
    total = optional(obj, "total", as_number)
    return Accuracy(*_counts(obj), by_day, None if total is None else int(total))


def _counts(obj: Object) -> tuple[int, int]:
    confirmed, corrected = (as_number(obj.get(k), k) for k in ("confirmed", "corrected"))
    return int(confirmed), int(corrected)


def _stored(obj: Object) -> StoredClassification:
    return StoredClassification(
        **parse_result(obj),
        id=as_string(obj.get("id"), "id"),
        time=as_datetime(obj.get("time"), "time"),
        sha256=as_string(obj.get("sha256", ""), "sha256"),
        filename=optional(obj, "filename", as_string),
        image=as_bool(obj.get("image", False), "image"),
        correction=optional(obj, "correction", as_string),
        corrected_at=optional(obj, "corrected_at", as_datetime),
        correction_model=optional(obj, "correction_model", as_string),
        none_of_these=as_bool(obj.get("none_of_these", False), "none_of_these"),
    )
