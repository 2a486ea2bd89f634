"""The classification history: list, correct, delete and export."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import requests

from .drift import Drift, parse_drift
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
from .types import ClassScore, ModelRef, Timings

SendRequest = Callable[..., AbstractContextManager[requests.Response]]


@dataclass(frozen=True, slots=True)
class HistoryFilters:
    """Filters of the history; None matches everything.

    `label` is the prediction; `search` is a part of the file name, the prediction or the
    correction, ignoring case; `corrected` whether there is feedback; `wrong` whether the feedback
    contradicts the answer. `since` is inclusive, `until` exclusive; both are UTC if they have no
    time zone.
    """

    model: str | None = None
    label: str | None = None
    search: str | None = None
    corrected: bool | None = None
    wrong: bool | None = None
    in_distribution: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> dict[str, str]:
        """Return the filters as query parameters."""
        return {name: _parameter(one) for name, one in asdict(self).items() if one is not None}


NO_FILTERS = HistoryFilters()


@dataclass(frozen=True, slots=True)
class StoredClassification:
    """A classification in the history; fields as in Classification.

    `time` and `corrected_at` are UTC. `sha256` is the digest of the uploaded file; `image` tells
    whether a thumbnail is stored. `correction` is the right label according to feedback, and
    `correction_model` its model, None if it is `model`. `none_of_these` is feedback that no label
    is right. `corrected_at` is None without feedback.
    """

    id: str
    time: datetime
    model: ModelRef
    prediction: str
    confidence: float
    top: tuple[ClassScore, ...]
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings: Timings
    sha256: str
    filename: str | None
    image: bool
    correction: str | None
    corrected_at: datetime | None
    correction_model: str | None = None
    none_of_these: bool = False


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of classifications, newest first; `next` is the cursor of the next page, if any."""

    items: tuple[StoredClassification, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class HistoryStorage:
    """Whether `images` are stored, and the `days` after which classifications are deleted.

    `days` is None if they are kept. `location` is the database file, None unless the service is
    reachable from its own machine only.
    """

    images: bool
    days: int | None
    location: str | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Number of answers that the feedback confirms and contradicts.

    `days` has the same by the day of the classification (YYYY-MM-DD), newest first. `total` is the
    number of all matching classifications, None above 100,000 and for days.
    """

    confirmed: int
    corrected: int
    days: Mapping[str, "Accuracy"]
    total: int | None = None

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers; None without feedback."""
        total = self.confirmed + self.corrected
        return self.confirmed / total if total else None


class History:
    """The history of the backend that `send` sends requests to; raises the errors of Client.

    BackendError has the status 401 or 403 if the API key is missing or wrong.
    """

    def __init__(self, send: SendRequest) -> None:
        self._send = send

    def page(
        self, filters: HistoryFilters = NO_FILTERS, *, limit: int = 50, cursor: str | None = None
    ) -> HistoryPage:
        """Return up to `limit` classifications (at most 500), from `cursor` on."""
        query = filters.query() | {"limit": str(limit)}
        if cursor is not None:
            query["cursor"] = cursor
        obj = self._object("GET", "/history", query=query)
        items = as_list(obj.get("answers"), "answers")
        return HistoryPage(
            items=tuple(_stored(as_object(item, "answers[]")) for item in items),
            next=optional(obj, "next", as_string),
        )

    def get(self, classification_id: str) -> StoredClassification:
        """Return one classification."""
        return _stored(self._object("GET", _path(classification_id)))

    def image(self, classification_id: str) -> bytes:
        """Return the thumbnail of the image as a WebP file."""
        with self._send("GET", f"{_path(classification_id)}/image") as response:
            return response.content

    def correct(
        self, classification_id: str, label: str | None, model: str | None = None
    ) -> StoredClassification:
        """Set the right label: the prediction confirms, another corrects, None removes feedback.

        `model` is the model of `label` if it is not the one that classified.
        """
        body = {"correction": label}
        if model is not None:
            body["correction_model"] = model
        return _stored(self._object("PATCH", _path(classification_id), json=body))

    def none_of_these(self, classification_id: str) -> StoredClassification:
        """Set the feedback that no label of a served model is right."""
        body = {"none_of_these": True}
        return _stored(self._object("PATCH", _path(classification_id), json=body))

    def delete(self, classification_id: str) -> None:
        """Delete one classification."""
        with self._send("DELETE", _path(classification_id)):
            pass

    def clear(self, filters: HistoryFilters = NO_FILTERS) -> int:
        """Delete all matching classifications; return their number."""
        obj = self._object("DELETE", "/history", query=filters.query())
        return int(as_number(obj.get("deleted"), "deleted"))

    def storage(self) -> HistoryStorage:
        """Return what the backend stores, where, and for how long."""
        obj = self._object("GET", "/history/storage")
        days = optional(obj, "days", as_number)
        return HistoryStorage(
            images=as_bool(obj.get("images"), "images"),
            days=None if days is None else int(days),
            location=optional(obj, "location", as_string),
        )

    def accuracy(self, filters: HistoryFilters = NO_FILTERS, *, time_zone: str = "UTC") -> Accuracy:
        """Return the accuracy according to the feedback, by day in `time_zone` (IANA name)."""
        query = filters.query() | {"time_zone": time_zone}
        obj = self._object("GET", "/history/accuracy", query=query)
        days = [as_object(item, "days[]") for item in as_list(obj.get("days"), "days")]
        by_day = {as_string(day.get("day"), "day"): Accuracy(*_counts(day), {}) for day in days}
        total = optional(obj, "total", as_number)
        return Accuracy(*_counts(obj), by_day, None if total is None else int(total))

    def drift(
        self,
        model: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        time_zone: str = "UTC",
    ) -> Drift:
        """Return how the images and answers of `model` (NAME or NAME@VERSION) have changed.

        Its days start at `since` (default: the last 30 days), in `time_zone` (IANA name).
        """
        query = {"model": model, "time_zone": time_zone}
        query |= HistoryFilters(since=since, until=until).query()
        return parse_drift(self._object("GET", "/history/drift", query=query))

    def export(
        self,
        filters: HistoryFilters = NO_FILTERS,
        *,
        file_format: Literal["ndjson", "csv", "images"] = "ndjson",
    ) -> Iterator[bytes]:
        """Yield all matching classifications as a file, in chunks.

        `images` is a zip of the stored images in folders named after their right labels.
        """
        query = filters.query() | {"format": file_format}
        with self._send("GET", "/history/export", query=query) as response:
            yield from response.iter_content(65_536)

    def _object(self, method: str, path: str, **request: Any) -> Object:
        with self._send(method, path, **request) as response:
            return parse_object(response.content)


def _parameter(value: str | bool | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else str(value).lower()


def _path(classification_id: str) -> str:
    return f"/history/{quote(classification_id, safe='')}"


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
