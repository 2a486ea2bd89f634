"""The classification history of the asynchronous client."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

from . import history_calls as calls
from .aio_session import AsyncSession
from .drift import Drift
from .history import NO_FILTERS
from .history_types import (
    Accuracy,
    HistoryFilters,
    HistoryPage,
    HistoryStorage,
    StoredClassification,
)


class AsyncHistory:
    """The history of the backend that `session` is connected to, as History."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def page(
        self, filters: HistoryFilters = NO_FILTERS, *, limit: int = 50, cursor: str | None = None
    ) -> HistoryPage:
        """Return up to `limit` classifications (at most 500), from `cursor` on."""
        return await self._session.send(calls.page(filters, limit, cursor))

    async def get(self, classification_id: str) -> StoredClassification:
        """Return one classification."""
        return await self._session.send(calls.get(classification_id))

    async def image(self, classification_id: str) -> bytes:
        """Return the thumbnail of the image as a WebP file."""
        return await self._session.send(calls.image(classification_id))

    async def correct(
        self, classification_id: str, label: str | None, model: str | None = None
    ) -> StoredClassification:
        """Set the right label: the prediction confirms, another corrects, None removes feedback.

        `model` is the model of `label` if it is not the one that classified.
        """
        return await self._session.send(calls.correct(classification_id, label, model))

    async def none_of_these(self, classification_id: str) -> StoredClassification:
        """Set the feedback that no label of a served model is right."""
        return await self._session.send(calls.none_of_these(classification_id))

    async def delete(self, classification_id: str) -> None:
        """Delete one classification."""
        await self._session.send(calls.delete(classification_id))

    async def clear(self, filters: HistoryFilters = NO_FILTERS) -> int:
        """Delete all matching classifications; return their number."""
        return await self._session.send(calls.clear(filters))

    async def storage(self) -> HistoryStorage:
        """Return what the backend stores, where, and for how long."""
        return await self._session.send(calls.storage())

    async def accuracy(
        self, filters: HistoryFilters = NO_FILTERS, *, time_zone: str = "UTC"
    ) -> Accuracy:
        """Return the accuracy according to the feedback, by day in `time_zone` (IANA name)."""
        return await self._session.send(calls.accuracy(filters, time_zone))

    async def drift(
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
        return await self._session.send(calls.drift(model, since, until, time_zone))

    async def export(
        self,
        filters: HistoryFilters = NO_FILTERS,
        *,
        file_format: Literal["ndjson", "csv", "images"] = "ndjson",
    ) -> AsyncIterator[bytes]:
        """Yield all matching classifications as a file, in chunks.

        `images` is a zip of the stored images in folders named after their right labels.
        """
        query = calls.export_query(filters, file_format)
        async with self._session.request("GET", "/history/export", params=query) as response:
            async for chunk in response.aiter_bytes():
                yield chunk
