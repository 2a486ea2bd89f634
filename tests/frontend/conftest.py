"""The app, opened; a Cloud Run that knows the backend."""

import sys
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from frontend.service import cloud_run
from tests.frontend.app import APP
from tests.frontend.cloud import NUMBER, REGION, AdminApi, admin_api

Start = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def _main_stays() -> Iterator[None]:
    """A page becomes `__main__` while it runs; processes that other tests spawn would run it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a function that opens the app on the backend at an address, with a query."""

    def opened(url: str, **query: str) -> AppTest:
        monkeypatch.setenv("BACKEND", url)
        app = AppTest.from_file(str(APP), default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return opened


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    """An Admin API that `frontend.service.cloud_run` asks; it knows the service "backend"."""
    with admin_api() as running:
        name = f"projects/{NUMBER}/locations/{REGION}/services/backend"
        running.services[name] = "https://backend-abc-ew.a.run.app"
        monkeypatch.setattr(cloud_run, "connect", running.connect)
        yield running
