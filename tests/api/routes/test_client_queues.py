"""Every route that classifies tells the queues which client sent the image."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.inference.classifier import Classifier
from tests.fake_models import serve, write_model
from tests.images import encoded, seven

SEVEN = encoded(seven())
FORM = {"files": {"file": ("seven.png", SEVEN)}}
RAW = {"content": SEVEN, "headers": {"Content-Type": "image/png"}}
URL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # noqa: E501


@pytest.mark.parametrize(
    ("path", "request_", "methods"),
    [
        ("/classify", RAW, {"require_capacity", "classify"}),
        (
            "/classify?explain=true&model_input=true",
            FORM,
            {"require_capacity", "classify", "explain", "model_input_png"},
        ),
        ("/classify/batch", FORM, {"has_capacity", "classify"}),
        ("/predict", FORM, {"require_capacity", "classify"}),
        ("/predict", {"json": {"input": [[0] * 784]}}, {"require_capacity", "classify_inputs"}),
        ("/predict_nn/", {"json": {"drawing_data": URL}}, {"require_capacity", "classify"}),
    ],
)
def test_route_passes_the_client(
    path: str,
    request_: dict[str, Any],
    methods: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients: dict[str, str] = {}

    def record(name: str) -> None:
        method, place = getattr(Classifier, name), 1 if "capacity" in name else 2
        place += name == "explain"

        def recording(self: Classifier, *args: Any) -> Any:
            clients[name] = args[place]
            return method(self, *args)

        monkeypatch.setattr(Classifier, name, recording)

    for name in methods:
        record(name)
    write_model(tmp_path / "models")
    request = request_ | {
        "headers": request_.get("headers", {}) | {"X-Forwarded-For": "203.0.113.9, 192.0.2.7"}
    }
    with serve(tmp_path / "models", trusted_proxies=1) as client:
        response = client.post(path, **request)
    assert response.status_code in (200, 422), json.dumps(response.json())
    assert clients == dict.fromkeys(methods, "192.0.2.7")
