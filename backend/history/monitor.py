"""Tests all served models for drift from time to time, for the metrics."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from backend.history.drift import MAX_FEEDBACK, MAX_IMAGES, Drift, find_drift
from backend.history.errors import HistoryUnavailableError
from backend.history.record import HistoryFilters

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.drift")

INTERVAL: Final = 60.0  # s at least between the starts of two rounds
PAUSE: Final = 20.0  # times the duration of a round until the next one: it takes 5% of the time


def read_drift(store: "Store", filters: HistoryFilters, version: str) -> Drift:
    """Return the drift of a version of the model in `filters`; raise HistoryUnavailableError."""
    observations = store.observations(filters, version, MAX_IMAGES)
    reviewed = replace(filters, corrected=True)
    return find_drift(observations, store.observations(reviewed, version, MAX_FEEDBACK))


class Versions(Protocol):
    """Which versions of models are served, as the catalog knows them; None: not known."""

    def active_version(self, name: str) -> str | None:
        """Return the version that classifies."""

    def created(self, name: str, version: str) -> datetime | None:
        """Return the time from which on classifications are by this version."""


class DriftMonitor:
    """Publishes the drift of models, and None for a model that has none any more.

    `get_store` may raise HistoryUnavailableError.
    """

    def __init__(
        self,
        get_store: Callable[[], "Store"],
        versions: Versions,
        publish: Callable[[str, Drift | None], None],
    ) -> None:
        self._get_store = get_store
        self._versions = versions
        self._publish = publish
        self._published: set[str] = set()
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._thread: threading.Thread | None = None

    def refresh(self, models: Sequence[str]) -> None:
        """Test `models` in a thread, unless that started less than `INTERVAL` ago. Thread-safe.

        After a long round, the next one starts later. The caller does not wait: the database may
        be slow.
        """
        with self._lock:
            is_running = self._thread is not None and self._thread.is_alive()
            if is_running or time.monotonic() < self._next_start:
                return
            self._next_start = time.monotonic() + INTERVAL
            self._thread = threading.Thread(
                target=self._run, args=(models,), name="prism-drift", daemon=True
            )
            self._thread.start()

    def wait(self) -> None:
        """Wait until the running round ends."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, models: Sequence[str]) -> None:
        started = time.monotonic()
        try:
            with suppress(HistoryUnavailableError):
                for model in self._published.difference(models):
                    self._publish(model, None)
                for model in models:
                    self._test(model)
                self._published = set(models)
        except Exception:
            log.exception("the drift of the models could not be computed")
        ended = time.monotonic()
        self._next_start = max(self._next_start, ended + PAUSE * (ended - started))

    def _test(self, model: str) -> None:
        store = self._get_store()
        version = self._versions.active_version(model) or store.newest_version(model)
        drift = None
        if version is not None:
            since = self._versions.created(model, version)
            drift = read_drift(store, HistoryFilters(model=model, since=since), version)
        self._publish(model, drift if drift and drift.images else None)
