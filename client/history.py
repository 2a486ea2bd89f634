"""The classification history: list, correct, delete and export."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from . import history_calls as calls
from .drift import Drift
from .history_types import (
    Accuracy,
    HistoryFilters,
    HistoryPage,
    HistoryStorage,
    StoredClassification,
)
from .session import Session

EXPORT_CHUNK_BYTES: Final = 65_536
NO_FILTERS: Final = HistoryFilters()


class History:
    """The history of the backend that `session` is connected to; raises the errors of Client.

    BackendError has the status 401 or 403 if the API key is missing or wrong.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self, filters: HistoryFilters = NO_FILTERS, *, limit: int = 50, cursor: str | None = None
    ) -> HistoryPage:
        """Return up to `limit` classifications (at most 500), from `cursor` on."""
        return self._session.send(calls.page(filters, limit, cursor))

    def get(self, classification_id: str) -> StoredClassification:
        """Return one classification."""
        return self._session.send(calls.get(classification_id))

    def image(self, classification_id: str) -> bytes:
        """Return the thumbnail of the image as a WebP file."""
        return self._session.send(calls.image(classification_id))

    def correct(
        self, classification_id: str, label: str | None, model: str | None = None
    ) -> StoredClassification:
        """Set the right label: the prediction confirms, another corrects, None removes feedback.

        `model` is the model of `label` if it is not the one that classified.
        """
        return self._session.send(calls.correct(classification_id, label, model))

    def none_of_these(self, classification_id: str) -> StoredClassification:
        """Set the feedback that no label of a served model is right."""
        return self._session.send(calls.none_of_these(classification_id))

    def delete(self, classification_id: str) -> None:
        """Delete one classification."""
        self._session.send(calls.delete(classification_id))

    def clear(self, filters: HistoryFilters = NO_FILTERS) -> int:
        """Delete all matching classifications; return their number."""
        return self._session.send(calls.clear(filters))

    def storage(self) -> HistoryStorage:
        """Return what the backend stores, where, and for how long."""
        return self._session.send(calls.storage())

    def accuracy(self, filters: HistoryFilters = NO_FILTERS, *, time_zone: str = "UTC") -> Accuracy:
        """Return the accuracy according to the feedback, by day in `time_zone` (IANA name)."""
        return self._session.send(calls.accuracy(filters, time_zone))

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
        return self._session.send(calls.drift(model, since, until, time_zone))

    def export(
        self,
        filters: HistoryFilters = NO_FILTERS,
        *,
        file_format: Literal["ndjson", "csv", "images"] = "ndjson",
    ) -> Iterator[bytes]:
        """Yield all matching classifications as a file, in chunks.

        `images` is a zip of the stored images in folders named after their right labels.
        """
        query = calls.export_query(filters, file_format)
        with self._session.request("GET", "/history/export", query=query) as response:
            yield from response.iter_content(EXPORT_CHUNK_BYTES)
