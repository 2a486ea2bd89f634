"""The OpenAPI document is rendered once."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.app import create_app
from backend.settings import Settings
from tests.fake_models import write_model


def test_document_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path)
    app = create_app(Settings(models_dir=tmp_path))
    document = app.openapi()
    calls = iter([document])  # a second call would fail
    monkeypatch.setattr(app, "openapi", lambda: next(calls))
    client = TestClient(app, base_url="http://localhost")
    first, second = (client.get("/openapi.json") for _ in range(2))
    assert first.headers["content-type"] == "application/json"
    assert first.json() == second.json() == document
    assert client.head("/openapi.json").headers["content-length"] == str(len(first.content))
