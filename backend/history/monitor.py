"""Tests all served models for drift from time to time, for the metrics."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from backend.history.drift import Drift, find_drift
from backend.history.errors import HistoryUnavailableError

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.drift")

INTERVAL: Final = 60.0  # s between the starts of two rounds
_MAX_IMAGES: Final = 5000  # newest ones of each model


class DriftMonitor:
    """Publishes the drift of models; `get_store` may raise HistoryUnavailableError."""

    def __init__(
        self, get_store: Callable[[], "Store"], publish: Callable[[str, Drift], None]
    ) -> None:
        self._get_store = get_store
        self._publish = publish
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._thread: threading.Thread | None = None

    def refresh(self, models: Sequence[str]) -> None:
        """Test `models` in a thread, unless that started less than `INTERVAL` ago. Thread-safe.

        The caller does not wait: the database may be slow.
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
        try:
            with suppress(HistoryUnavailableError):
                for model in models:
                    self._test(model)
        except Exception:
            log.exception("the drift of the models could not be computed")

    def _test(self, model: str) -> None:
        store = self._get_store()
        version = store.newest_version(model)
        if version is not None:
            observations = store.observations(model, version, _MAX_IMAGES)
            self._publish(model, find_drift(observations))
