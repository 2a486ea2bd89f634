"""Where the backend is, and how that is known. No Streamlit in here."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from client import base_url
from frontend.service import cloud_run
from frontend.service.cloud_run import Trouble

DEFAULT = "http://localhost:8000"
INTERVAL = 10.0  # seconds between two searches while the backend does not answer


class Way(StrEnum):
    """How an address came about, in words for a person."""

    SETTING = "set by BACKEND"
    CLOUD_RUN = "found through Cloud Run"
    DETERMINISTIC = "Cloud Run's usual address for this service"
    DEFAULT = "the default"


class AddressError(ValueError):
    """No usable address; the text is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Address:
    """The backend's address; `troubles` are sentences on the ways that were tried in vain."""

    url: str
    how: Way
    troubles: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.url} ({self.how})"


def find(environ: Mapping[str, str]) -> Address:
    """Return what BACKEND names; else, on Cloud Run, what Cloud Run knows; else the default.

    Every step is bounded (`cloud_run.STEP`), and one that fails leads to the next. Raises
    AddressError where a setting is wrong.
    """
    if given := environ.get("BACKEND", "").strip():
        try:
            return Address(base_url(given), Way.SETTING)
        except ValueError as exc:
            raise AddressError(f"The setting BACKEND cannot be used: {exc}.") from exc
    if not is_on_cloud_run(environ):
        return Address(DEFAULT, Way.DEFAULT)
    try:
        return _ask_cloud_run(environ)
    except ValueError as exc:
        raise AddressError(str(exc)) from exc


def is_on_cloud_run(environ: Mapping[str, str]) -> bool:
    """Tell whether this process serves on Cloud Run, by the variable that it sets."""
    return bool(environ.get("K_SERVICE"))


class Discovery:
    """Keeps the address that was found, and looks again once the backend there is in doubt.

    Safe to share between threads: one searches, the others wait for its answer. `clock` gives
    seconds; a new search begins `interval` seconds after the last one at the earliest.
    """

    def __init__(
        self,
        search: Callable[[Mapping[str, str]], Address] = find,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search = search
        self._interval = interval
        self._clock = clock
        self._lock = Lock()
        self._found: Address | None = None
        self._found_at = 0.0
        self._doubted = False

    def address(self, environ: Mapping[str, str]) -> Address:
        """Return where the backend is; raises AddressError as `find` does."""
        if environ.get("BACKEND", "").strip() or not is_on_cloud_run(environ):
            return self._search(environ)  # costs nothing
        with self._lock:
            if self._found is None or (self._doubted and self._is_due()):
                self._found = self._search(environ)
                self._found_at = self._clock()
                self._doubted = False
            return self._found

    def doubt(self, address: Address) -> None:
        """Note that no backend answers at `address`."""
        with self._lock:
            if address == self._found:
                self._doubted = True

    def _is_due(self) -> bool:
        return self._clock() - self._found_at >= self._interval


def _ask_cloud_run(environ: Mapping[str, str]) -> Address:
    troubles: list[str] = []
    try:
        target = cloud_run.target(environ)
        try:
            return Address(cloud_run.ask(target), Way.CLOUD_RUN)
        except Trouble as trouble:
            troubles.append(str(trouble))
        return Address(cloud_run.deterministic_url(target), Way.DETERMINISTIC, tuple(troubles))
    except Trouble as trouble:
        return Address(DEFAULT, Way.DEFAULT, (*troubles, str(trouble)))
