"""Every route that classifies tells the queues which client sent the image."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from urllib3 import encode_multipart_formdata

from backend.inference.classifier import Classifier
from tests.api.asgi import body, run_service
from tests.fake_models import GRAY, GrayRuntime, gray, serve, write_model
from tests.images import encoded, seven
from tests.inference.helpers import wait_until

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


@pytest.mark.anyio
async def test_batches_of_one_client_share_their_places_in_the_queue(tmp_path: Path) -> None:
    """Two batches of one client have 16 images in flight, and another client has its own 16."""
    write_model(tmp_path / "models", "gray", preprocess=GRAY)
    runtime = GrayRuntime()
    files = [("file", (f"{number}.png", gray(1, 80), "image/png")) for number in range(20)]
    content, content_type = encode_multipart_formdata(files)
    async with run_service(tmp_path / "models", runtime) as service:
        catalog = service._state["catalog"]
        classifier = await catalog.get(catalog.default).load()
        runtime.hold()
        requests = []
        for clients, in_flight in ((["a"], 16), (["a", "b"], 32)):
            requests += [
                service.post(
                    body(content), path="/classify/batch", client=client, content_type=content_type
                )
                for client in clients
            ]
            await wait_until(lambda: classifier._tracking.in_flight >= in_flight)  # noqa: B023
            await asyncio.sleep(0.02)
            assert classifier._tracking.in_flight == in_flight
        runtime.release()
        for request in requests:
            await wait_until(lambda: request.sent[-1].get("more_body") is False)  # noqa: B023
            lines = b"".join(message.get("body", b"") for message in request.sent)
            assert lines.count(b'"prediction":"1"') == 20
