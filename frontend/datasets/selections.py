"""The images that a user chose, found again by their token after a reload. Imports no Streamlit."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from client import ClientError
from frontend.datasets.archives import count_open_zips
from frontend.service.predictions import (
    ImageFile,
    Outcome,
    PredictionCache,
    PredictionRequest,
    RequestKey,
)
from frontend.state import memory
from frontend.state.jobs import ExpiryTimer

MAX_SELECTIONS: Final = 500  # of all sessions
MAX_OPEN_ZIPS: Final = 300  # of all sessions; each is an open file
MAX_BYTES: Final = 2_000_000_000  # of the images of all selections; less in a small container
EXPIRE_AFTER: Final = 3600.0  # s without access


class ImageSelection:
    """Images that were chosen together, their outcomes and the user's corrections.

    Several sessions may share it and send different requests.
    """

    def __init__(
        self,
        images: Sequence[ImageFile],
        cache: PredictionCache | None = None,
        token: str | None = None,
    ) -> None:
        self.token: Final = token or secrets.token_urlsafe(12)
        self.images: Final = tuple(images)
        self.size: Final = sum(image.stored_size for image in images)
        self.open_zips: Final = count_open_zips(images)
        self.cache: Final = cache or PredictionCache()
        self.corrections: Final[dict[str, str]] = {}  # right labels by classification ID
        self.last_request: PredictionRequest | None = None  # of any session
        self.stored_version: object = None  # what the page's store has
        self.is_discarded = False  # not stored again
        self.jobs: Final[dict[RequestKey, str]] = {}  # tokens of the running jobs
        # The errors and the times of the next retry (of the clock).
        self.retries: Final[dict[RequestKey, tuple[ClientError, float]]] = {}

    def outcomes(self, request: PredictionRequest) -> list[Outcome | None]:
        """Return the outcome of each image; None for an image that is not classified yet."""
        return [self.cache.get(image, request) for image in self.images]

    def pending(self, request: PredictionRequest) -> list[ImageFile]:
        """Return the images without an outcome."""
        return [image for image in self.images if self.cache.get(image, request) is None]


class Stored(Protocol):
    """Images that belong together."""

    @property
    def token(self) -> str:
        """A random name."""

    @property
    def size(self) -> int:
        """The stored bytes."""

    @property
    def open_zips(self) -> int:
        """The number of zips that the images keep open."""


S = TypeVar("S", bound=Stored)


class SelectionStore(Generic[S]):
    """The selections of all sessions. Thread-safe.

    The least recently used ones are removed when the limits are exceeded, and unused ones expire.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_bytes: int | None = None
    ) -> None:
        self._clock = clock
        self._max_bytes = max_bytes or memory.share(MAX_BYTES)
        self._selections: dict[str, tuple[S, float]] = {}
        self._lock = threading.Lock()
        self._expiry_timer = ExpiryTimer(self._expire, EXPIRE_AFTER / 4)

    def put(self, selection: S) -> None:
        """Store a selection."""
        with self._lock:
            self._touch(selection)
            self._evict()
        self._expiry_timer.start()

    def find(self, token: str | None) -> S | None:
        """Return the selection of that token, or None if there is none (any more)."""
        with self._lock:
            self._evict()
            found = self._selections.get(token or "")
            if found is None:
                return None
            self._touch(found[0])
            return found[0]

    def discard(self, token: str | None) -> None:
        """Remove a selection."""
        with self._lock:
            self._selections.pop(token or "", None)

    def _touch(self, selection: S) -> None:
        """Move it to the end: the dict is sorted by the last access."""
        self._selections.pop(selection.token, None)
        self._selections[selection.token] = (selection, self._clock())

    def _expire(self) -> bool:
        with self._lock:
            self._evict()
            return bool(self._selections)

    def _evict(self) -> None:
        total = sum(selection.size for selection, _ in self._selections.values())
        zips = sum(selection.open_zips for selection, _ in self._selections.values())
        for token, (selection, accessed_at) in list(self._selections.items()):
            is_expired = self._clock() - accessed_at > EXPIRE_AFTER
            count = len(self._selections)
            is_over_limit = total > self._max_bytes or zips > MAX_OPEN_ZIPS
            if is_expired or count > MAX_SELECTIONS or (is_over_limit and count > 1):
                del self._selections[token]
                total -= selection.size
                zips -= selection.open_zips
