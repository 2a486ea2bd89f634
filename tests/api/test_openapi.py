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
    document, calls = app.openapi, []
    monkeypatch.setattr(app, "openapi", lambda: calls.append(1) or document())
    client = TestClient(app, base_url="http://localhost")
    first, second = (client.get("/openapi.json") for _ in range(2))
    assert first.headers["content-type"] == "application/json"
    assert first.json() == second.json() == document()
    assert len(calls) == 1
    assert client.head("/openapi.json").headers["content-length"] == str(len(first.content))
