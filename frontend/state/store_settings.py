"""The page's store and its settings. Imports no Streamlit, and SQLAlchemy only where it is used.

| setting | meaning |
| --- | --- |
| `PRISM_PAGE_STORE` | database of the results: sqlite:///FILE or postgresql://...; empty: memory |
| `PRISM_PAGE_STORE_HOURS` | hours after which a stored result is deleted |
| `PRISM_PAGE_STORE_MAX_BYTES` | maximum size of all stored results |
"""

import logging
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from frontend.state.stored_result import StoreError

if TYPE_CHECKING:
    from frontend.state.page_store import PageStore

URL_SETTING: Final = "PRISM_PAGE_STORE"
HOURS_SETTING: Final = "PRISM_PAGE_STORE_HOURS"
MAX_BYTES_SETTING: Final = "PRISM_PAGE_STORE_MAX_BYTES"
DEFAULT_HOURS: Final = 24.0
DEFAULT_MAX_BYTES: Final = 1_000_000_000

_URL: Final = re.compile(
    r"sqlite:///(?!:memory:|file:).+|(postgres(ql)?|postgresql\+psycopg)://.*", re.DOTALL
)

log = logging.getLogger("prism.jobs")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The settings; `url` is empty without a store."""

    url: str
    hours: float
    max_bytes: int


def read(environ: Mapping[str, str] = os.environ) -> StoreSettings:
    """Return the settings; raise ValueError, without the URL's password, for invalid ones."""
    url = environ.get(URL_SETTING, "").strip()
    if url and not _URL.fullmatch(url):
        form = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        raise ValueError(f"{URL_SETTING}: must be {form}")
    if url.startswith("postgres") and find_spec("psycopg") is None:
        install = "pip install -r requirements/postgres.txt"
        raise ValueError(f"{URL_SETTING}: PostgreSQL requires psycopg: {install}")
    hours = _number(environ, HOURS_SETTING, DEFAULT_HOURS)
    return StoreSettings(url, hours, int(_number(environ, MAX_BYTES_SETTING, DEFAULT_MAX_BYTES)))


def start(environ: Mapping[str, str] = os.environ) -> None:
    """Open the store; raise ValueError if a setting is invalid or a file cannot be written.

    A PostgreSQL server that does not respond is asked again when the store is used.
    """
    settings = read(environ)
    with _lock:
        opened = _opened.pop("store", None)
        if opened is not None:
            opened.close()
        if not settings.url:
            return
        from frontend.state.page_store import PageStore

        try:
            seconds = settings.hours * 3600
            store = PageStore(settings.url, seconds=seconds, max_bytes=settings.max_bytes)
        except OSError as error:
            reason = f"the file cannot be written: {error.strerror}"
            raise ValueError(f"{URL_SETTING}: {reason}") from error
        except ValueError as error:
            raise ValueError(f"{URL_SETTING}: is not a valid URL") from error
        try:
            store.prepare()
        except StoreError as error:
            if settings.url.startswith("sqlite"):
                reason = "the file cannot be written, or is not a database of SQLite"
                raise ValueError(f"{URL_SETTING}: {reason}") from error
            log.warning("the page's store is not available yet: %s", error)
        _opened["store"] = store


def store() -> "PageStore | None":
    """Return the store that `start` has opened; None without one."""
    return _opened.get("store")


_lock: Final = threading.Lock()
_opened: Final[dict[str, "PageStore"]] = {}


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{name}={text}: must be a number greater than 0")
    return number
