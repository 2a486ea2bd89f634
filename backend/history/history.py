"""The interface of the history: stores classifications and deletes expired ones."""

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backend.history.errors import HistoryUnavailableError
from backend.history.record import HistoryFilters, digest, make_record, make_thumbnail
from backend.history.storage import HistoryStorage, sqlite_file
from backend.history.writer import Writer
from backend.inference.images.decoding_cost import image_size
from backend.inference.images.image_reader import ImageReader

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.history")

THUMBNAIL_TIMEOUT: Final = 2.0  # s that a classification waits for its thumbnail at most
_THUMBNAIL_THREADS: Final = 2
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
        # Of their own: a decoder that hangs must not occupy the threads of other work.
        self._threads = ThreadPoolExecutor(_THUMBNAIL_THREADS, "prism-thumbnail")
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

    async def add(
        self,
        classification: dict[str, Any],
        content: bytes,
        seconds: float = math.inf,
        *,
        brightness: float | None = None,
    ) -> bool:
        """Store a `Classification` of the image file `content`; return whether it is committed.

        `brightness` is the mean of the model input, in [0, 1].
        The thumbnail is omitted if it is not made within `seconds`, the rest of the deadline.
        """
        if self._writer is None:
            return False
        thumbnail = await self._make_thumbnail(content, min(seconds, THUMBNAIL_TIMEOUT))
        if len(content) > _MAX_INLINE_HASH:
            sha256 = await asyncio.to_thread(digest, content)
        else:
            sha256 = digest(content)
        record = make_record(
            classification, sha256, thumbnail, size=image_size(content), brightness=brightness
        )
        return await self._writer.add(record)

    async def close(self) -> None:
        """Commit pending records and close the database."""
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
        if self._writer is not None:
            await self._writer.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _make_thumbnail(self, content: bytes, seconds: float) -> bytes | None:
        """Return the thumbnail, or None if there is none within `seconds`."""
        if self._image_reader is None or seconds <= 0:
            return None
        loop = asyncio.get_running_loop()
        made = loop.run_in_executor(self._threads, make_thumbnail, content, self._image_reader)
        try:
            return await asyncio.wait_for(made, seconds)
        except TimeoutError:
            return None

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
