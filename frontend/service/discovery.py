"""Find the backend's address. Imports no Streamlit."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from client import base_url
from frontend.service import cloud_run
from frontend.service.cloud_run import DiscoveryError

DEFAULT_URL = "http://localhost:8000"
SEARCH_INTERVAL = 10.0  # seconds between two searches while the backend is unreachable


class AddressSource(StrEnum):
    """Where an address comes from, as shown to the user."""

    SETTING = "set by BACKEND"
    CLOUD_RUN = "found through Cloud Run"
    DETERMINISTIC = "Cloud Run's deterministic URL"
    DEFAULT = "the default"


class AddressError(ValueError):
    """There is no usable address; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Address:
    """The backend's address; `warnings` are sentences about the sources that failed."""

    url: str
    source: AddressSource
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.url} ({self.source})"


def find_backend(environ: Mapping[str, str]) -> Address:
    """Return the address in BACKEND; else, on Cloud Run, the address found there; else the default.

    Each step is limited to `cloud_run.STEP_TIMEOUT`, and a failed step leads to the next one.
    Raise AddressError for an invalid setting.
    """
    if url := environ.get("BACKEND", "").strip():
        try:
            return Address(base_url(url), AddressSource.SETTING)
        except ValueError as exc:
            raise AddressError(f"The setting BACKEND is invalid: {exc}.") from exc
    if not is_on_cloud_run(environ):
        return Address(DEFAULT_URL, AddressSource.DEFAULT)
    try:
        return _find_on_cloud_run(environ)
    except ValueError as exc:
        raise AddressError(str(exc)) from exc


def is_on_cloud_run(environ: Mapping[str, str]) -> bool:
    """Return whether this process runs on Cloud Run, which sets K_SERVICE."""
    return bool(environ.get("K_SERVICE"))


class Discovery:
    """Caches the address, and searches again after the backend there was unreachable.

    Thread-safe: one thread searches while the others wait for its result. `clock` returns seconds;
    a new search starts at least `interval` seconds after the last one.
    """

    def __init__(
        self,
        search: Callable[[Mapping[str, str]], Address] = find_backend,
        *,
        interval: float = SEARCH_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search, self._interval, self._clock = search, interval, clock
        self._lock = Lock()
        self._address: Address | None = None
        self._searched_at = 0.0
        self._is_unreachable = False

    def address(self, environ: Mapping[str, str]) -> Address:
        """Return the backend's address; raise AddressError as `find_backend` does."""
        if environ.get("BACKEND", "").strip() or not is_on_cloud_run(environ):
            return self._search(environ)  # needs no request
        with self._lock:
            is_due = self._clock() - self._searched_at >= self._interval
            if self._address is None or (self._is_unreachable and is_due):
                self._address = self._search(environ)
                self._searched_at = self._clock()
                self._is_unreachable = False
            return self._address

    def mark_unreachable(self, address: Address) -> None:
        """Record that no backend responds at `address`."""
        with self._lock:
            if address == self._address:
                self._is_unreachable = True


def _find_on_cloud_run(environ: Mapping[str, str]) -> Address:
    warnings: list[str] = []
    try:
        target = cloud_run.find_target(environ)
        try:
            return Address(cloud_run.get_service_url(target), AddressSource.CLOUD_RUN)
        except DiscoveryError as error:
            warnings.append(str(error))
        url = cloud_run.deterministic_url(target)
        return Address(url, AddressSource.DETERMINISTIC, tuple(warnings))
    except DiscoveryError as error:
        return Address(DEFAULT_URL, AddressSource.DEFAULT, (*warnings, str(error)))
