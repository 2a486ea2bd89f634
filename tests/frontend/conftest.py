"""A Cloud Run that knows the backend."""

from collections.abc import Iterator

import pytest

from frontend import cloud_run
from tests.frontend.cloud import NUMBER, REGION, AdminApi, admin_api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    """An Admin API that `frontend.cloud_run` asks; it knows the service "backend"."""
    with admin_api() as running:
        name = f"projects/{NUMBER}/locations/{REGION}/services/backend"
        running.services[name] = "https://backend-abc-ew.a.run.app"
        monkeypatch.setattr(cloud_run, "connect", running.connect)
        yield running
