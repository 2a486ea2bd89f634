"""The interface of the history: stores classifications and deletes expired ones."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backend.history.errors import HistoryUnavailableError
from backend.history.record import HistoryFilters, digest, make_record, make_thumbnail
from backend.history.storage import HistoryStorage, sqlite_file
from backend.history.writer import Writer
from backend.inference.images.image_reader import ImageReader

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.history")

_MAX_INLINE_HASH: Final = 65_536  # bytes; hashing less is faster than using a thread
_EXPIRY_INTERVAL: Final = 3600.0  # s between two deletions of expired rows
_EXPIRY_PAUSE: Final = 0.05  # s between two batches of a deletion


class History:
    """Stores classifications in the database at `url` (empty: SQLite in `folder`) for `days`.

    With an `image_reader` it stores thumbnails too. `start` opens the database.
    """

    def __init__(
        self, url: str, folder: Path, *, days: int, image_reader: ImageReader | None = None
    ) -> None:
        self._open = partial(_open, url, folder)
        self._days = days
        self.storage: Final = HistoryStorage(
            images=image_reader is not None, days=days or None, file=sqlite_file(url, folder)
        )
        self._image_reader = image_reader
        self._writer: Writer | None = None
        self._retention: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database in the background; return after the first attempt."""
        self._writer = Writer(self._open)
        if self._days:
            self._retention = asyncio.create_task(self._delete_expired(self._writer))
        await self._writer.attempted.wait()

    @property
    def store(self) -> "Store":
        """Return the store for reading and feedback; raise HistoryUnavailableError if not open."""
        if self._writer is None:
            raise HistoryUnavailableError
        return self._writer.store

    async def add(self, classification: dict[str, Any], content: bytes) -> bool:
        """Store a `Classification` of the image file `content`; return whether it is committed."""
        if self._writer is None:
            return False
        if self._image_reader or len(content) > _MAX_INLINE_HASH:
            sha256, thumbnail = await asyncio.to_thread(self._process, content)
        else:
            sha256, thumbnail = digest(content), None
        return await self._writer.add(make_record(classification, sha256, thumbnail))

    async def close(self) -> None:
        """Commit pending records and close the database."""
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
        if self._writer is not None:
            await self._writer.close()

    def _process(self, content: bytes) -> tuple[str, bytes | None]:
        thumbnail = make_thumbnail(content, self._image_reader) if self._image_reader else None
        return digest(content), thumbnail

    async def _delete_expired(self, writer: Writer) -> None:
        await writer.opened.wait()
        while True:
            with suppress(HistoryUnavailableError):
                expired = datetime.now(UTC) - timedelta(days=self._days)
                filters = HistoryFilters(until=expired)
                while await asyncio.to_thread(writer.store.delete_some, filters):  # noqa: ASYNC110
                    await asyncio.sleep(_EXPIRY_PAUSE)
            await asyncio.sleep(_EXPIRY_INTERVAL)


def _open(url: str, folder: Path) -> "Store":
    from backend.history.store import Store  # slow import, in the writer thread

    return Store(url, folder)
