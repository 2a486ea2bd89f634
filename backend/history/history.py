"""The facade: answers in, kept or not; old ones are forgotten."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backend.history.errors import HistoryUnavailableError
from backend.history.record import digest, record, shrunken
from backend.history.writer import Writer
from backend.inference.images.image_reader import Reader

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.history")

_SMALL: Final = 65_536  # bytes of a file that is hashed sooner than handed to a thread
_EVERY: Final = 3600.0  # seconds between two looks for what is too old
_BREATH: Final = 0.05  # seconds between two portions of it


class History:
    """Remembers answers in the database at `url` (empty: SQLite in `folder`) for so many `days`.

    Of pictures it keeps small copies where `pictures`, which reads them, is given. Nothing happens
    before `start`.
    """

    def __init__(
        self, url: str, folder: Path, *, days: int, pictures: Reader | None = None
    ) -> None:
        self._open = partial(_open, url, folder)
        self._days = days
        self._pictures = pictures
        self._writer: Writer | None = None
        self._retention: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database in the background; returns once that was tried for the first time."""
        self._writer = Writer(self._open)
        if self._days:
            self._retention = asyncio.create_task(self._forget(self._writer))
        await self._writer.tried.wait()

    @property
    def store(self) -> "Store":
        """For those who read and correct; raises HistoryUnavailableError until it is open."""
        if self._writer is None:
            raise HistoryUnavailableError
        return self._writer.store

    async def keep(self, answer: dict[str, Any], content: bytes) -> bool:
        """Whether the filled `Classification` of the picture `content` is stored for good."""
        if self._writer is None:
            return False
        if self._pictures or len(content) > _SMALL:
            sha256, picture = await asyncio.to_thread(self._look, content)
        else:
            sha256, picture = digest(content), None
        return await self._writer.keep(record(answer, sha256, picture))

    async def close(self) -> None:
        """Finish what was begun."""
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
        if self._writer is not None:
            await self._writer.close()

    def _look(self, content: bytes) -> tuple[str, bytes | None]:
        picture = shrunken(content, self._pictures) if self._pictures else None
        return digest(content), picture

    async def _forget(self, writer: Writer) -> None:
        await writer.opened.wait()
        while True:
            with suppress(HistoryUnavailableError):
                limit = datetime.now(UTC) - timedelta(days=self._days)
                while await asyncio.to_thread(writer.store.delete_some, limit):  # noqa: ASYNC110
                    await asyncio.sleep(_BREATH)
            await asyncio.sleep(_EVERY)


def _open(url: str, folder: Path) -> "Store":
    from backend.history.store import Store  # in the thread that calls this: it takes a while

    return Store(url, folder)
