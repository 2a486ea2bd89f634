"""The app in a test session; a fake of Cloud Run with the backend."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from frontend.service import cloud_run
from frontend.state import store_settings
from frontend.state.page_store import PageStore
from tests.frontend.app import APP
from tests.frontend.cloud_run_fakes import NUMBER, REGION, AdminApi, admin_api

OpenPage = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def _restore_main() -> Iterator[None]:
    """Restore `__main__`, which a page replaces: subprocesses of other tests would run the page."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PageStore]:
    """A store of the page in SQLite, which is the one that the settings name."""
    store_settings.start({"PRISM_PAGE_STORE": f"sqlite:///{tmp_path / 'page.db'}"})
    opened = store_settings.store()
    assert opened is not None
    yield opened
    store_settings.start({})


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """Return a function that opens the app with a backend URL and query parameters."""

    def opened(url: str, **query: str) -> AppTest:
        monkeypatch.setenv("BACKEND", url)
        monkeypatch.setenv("PRISM_PAGE_OPEN", "true")  # a test has no address or host name
        app = AppTest.from_file(str(APP), default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return opened


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    """A fake Admin API with the service "backend"."""
    with admin_api() as running:
        name = f"projects/{NUMBER}/locations/{REGION}/services/backend"
        running.services[name] = "https://backend-abc-ew.a.run.app"
        monkeypatch.setattr(cloud_run, "connect", running.connect)
        yield running
