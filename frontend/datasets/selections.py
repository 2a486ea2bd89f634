"""The pictures someone chose, found again by their token after a reload. No Streamlit in here."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from client import ClientError
from frontend.datasets.images import Picture
from frontend.service.predictions import Key, Memory, Outcome, Question
from frontend.state.expiry import Tidier

MOST: Final = 500  # batches that are held, of all sessions
MOST_BYTES: Final = 2_000_000_000  # of their pictures
FORGOTTEN: Final = 3600.0  # s after which pictures that nobody looks at are dropped


class Batch:
    """Pictures that were chosen together, what was answered, and what a person said of that.

    Several sessions may look at it and ask different questions. `corrections` has the right label
    by the answer's id; `jobs` the token of the job that reads, and `waits` what it waits for now,
    until when (of the clock), both by the question's key. `asked` is the last question of all.
    """

    def __init__(self, pictures: Sequence[Picture], memory: Memory | None = None) -> None:
        self.token: Final = secrets.token_urlsafe(12)
        self.pictures: Final = tuple(pictures)
        self.bytes: Final = sum(len(picture.content) for picture in pictures)
        self.memory: Final = memory or Memory()
        self.corrections: Final[dict[str, str]] = {}
        self.asked: Question | None = None
        self.jobs: Final[dict[Key, str]] = {}
        self.waits: Final[dict[Key, tuple[ClientError, float]]] = {}

    def outcomes(self, question: Question) -> list[Outcome | None]:
        """Return what is known of each picture; None where nothing is."""
        return [self.memory.get(picture, question) for picture in self.pictures]

    def unread(self, question: Question) -> list[Picture]:
        """Return the pictures of which nothing is known."""
        return [one for one in self.pictures if self.memory.get(one, question) is None]


class Batches:
    """The batches of all sessions; those that were not looked at for longest make room.

    What nobody looks at is forgotten even where nobody comes any more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[Batch, float]] = {}
        self._lock = threading.Lock()
        self._tidier = Tidier(self._tidy, FORGOTTEN / 4)

    def put(self, batch: Batch) -> None:
        """Hold a batch."""
        with self._lock:
            self._look(batch)
            self._make_room()
        self._tidier.wake()

    def find(self, token: str | None) -> Batch | None:
        """Return the batch of that token, or None where it is no longer held."""
        with self._lock:
            self._make_room()
            batch, _ = self._held.get(token or "", (None, 0.0))
            if batch is not None:
                self._look(batch)
            return batch

    def drop(self, token: str | None) -> None:
        """Hold it no longer."""
        with self._lock:
            self._held.pop(token or "", None)

    def _look(self, batch: Batch) -> None:
        """Put it last, behind all that were looked at before."""
        self._held.pop(batch.token, None)
        self._held[batch.token] = (batch, self._clock())

    def _tidy(self) -> bool:
        with self._lock:
            self._make_room()
            return bool(self._held)

    def _make_room(self) -> None:
        total = sum(batch.bytes for batch, _ in self._held.values())
        for token, (batch, seen) in list(self._held.items()):
            is_old = self._clock() - seen > FORGOTTEN
            if is_old or len(self._held) > MOST or (total > MOST_BYTES and len(self._held) > 1):
                del self._held[token]
                total -= batch.bytes
