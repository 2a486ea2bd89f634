"""Downloads that the page's server streams, each at a secret URL. Imports no Streamlit.

A page creates the URL for a user who may have the file; whoever has the URL can download it until
it expires. Neither the page nor its memory holds the file.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

PATH: Final = "/downloads"
EXPIRE_AFTER: Final = 3600.0  # s
MAX_DOWNLOADS: Final = 3000  # URLs of all sessions


@dataclass(frozen=True, slots=True)
class Download:
    """A file: `chunks` yields its content each time it is called."""

    name: str
    media_type: str
    chunks: Callable[[], Iterator[bytes]]


class Downloads:
    """The downloads of all sessions, found by their token. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._downloads: dict[str, tuple[Download, float]] = {}
        self._lock = threading.Lock()

    def put(self, download: Download) -> str:
        """Return the URL path of a download; the oldest one is dropped above MAX_DOWNLOADS."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._drop_expired()
            if len(self._downloads) >= MAX_DOWNLOADS:
                del self._downloads[next(iter(self._downloads))]
            self._downloads[token] = (download, self._clock())
        return f"{PATH}/{token}"

    def find(self, token: str) -> Download | None:
        """Return the download of that token; None if there is none (any more)."""
        with self._lock:
            self._drop_expired()
            download, _ = self._downloads.get(token, (None, 0.0))
            return download

    def _drop_expired(self) -> None:
        """Drop expired downloads; the dict is in the order of their creation."""
        now = self._clock()
        while self._downloads:
            token, (_, created_at) = next(iter(self._downloads.items()))
            if now - created_at <= EXPIRE_AFTER:
                return
            del self._downloads[token]


downloads: Final = Downloads()
