"""Dropping what nobody looks at any more, on a server that nobody asks, too. No Streamlit here."""

import threading
from collections.abc import Callable


class Tidier:
    """Calls `tidy` every so many seconds once it is woken, for as long as that returns True."""

    def __init__(self, tidy: Callable[[], bool], every: float) -> None:
        self._tidy = tidy
        self._every = every
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def wake(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._every, self._run)
                self._timer.daemon = True
                self._timer.start()

    def _run(self) -> None:
        with self._lock:
            self._timer = None
        if self._tidy():
            self.wake()
