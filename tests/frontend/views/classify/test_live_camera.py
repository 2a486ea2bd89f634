"""The live camera on the Classify page, without a browser."""

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import CLASSIFICATION_JSON, models_response, page_text
from tests.frontend.conftest import OpenPage
from tests.images import seven

KEY = "live camera"
EMPTY = "The classification of the camera image appears here."


def open_camera(start: OpenPage, url: str, **query: str) -> AppTest:
    app = start(url, **query)
    app.session_state["source"] = "Live camera"
    return app.run()


def jpeg(seed: int = 60) -> bytes:
    out = BytesIO()
    seven(seed).convert("RGB").save(out, "JPEG", quality=95)
    return out.getvalue()


def send_frame(app: AppTest, frame_id: int, content: bytes, *, keep: bool = False) -> AppTest:
    url = "data:image/jpeg;base64," + base64.b64encode(content).decode()
    value: dict[str, Any] = {"frame": {"id": frame_id, "jpeg": url}}
    app.session_state[KEY] = value | ({"keep": True} if keep else {})
    return app.run()


def camera_data(app: AppTest) -> dict[str, Any]:
    """Return the data of the component."""
    components = [element.proto for element in app.get("bidi_component")]
    (data,) = (one.json for one in components if one.component_name == "live_camera")
    loaded: dict[str, Any] = json.loads(data)
    return loaded


def stored_ids(client: Client) -> set[str]:
    return {item.id for item in client.history.page(limit=500).items}


def test_frames_are_classified_and_not_stored(start: OpenPage, backend_url: str) -> None:
    app = open_camera(start, backend_url)
    assert EMPTY in page_text(app)
    with Client(backend_url) as client:
        before = stored_ids(client)
        assert "7, " in page_text(send_frame(app, 1, jpeg()))
        assert "7, " in page_text(send_frame(app, 2, jpeg(61)))
        assert "Model: Handwritten digits (chosen automatically)" in page_text(app)
        assert stored_ids(client) == before


def test_kept_frame_is_stored_once(start: OpenPage, backend_url: str) -> None:
    app = send_frame(open_camera(start, backend_url), 1, jpeg(62))
    with Client(backend_url) as client:
        before = stored_ids(client)
        send_frame(app, 1, jpeg(62), keep=True)
        app.run()
        (stored,) = stored_ids(client) - before
        assert client.history.get(stored).filename == "camera frame.jpg"
    assert EMPTY in page_text(app)
    assert "7, " in page_text(app)
    assert "Correct" in [button.label for button in app.button]


def test_invalid_frame_is_ignored(start: OpenPage, backend_url: str) -> None:
    app = open_camera(start, backend_url)
    for frame in (5, {"id": "1"}, {"id": 1, "jpeg": "data:image/png;base64,AAAA"}, {"id": 1}):
        app.session_state[KEY] = {"frame": frame}
        assert EMPTY in page_text(app.run())


@pytest.mark.parametrize(
    ("status", "code", "message", "stopped"),
    [
        (429, "queue_full", "Live mode slows down: the next frame follows in 3 seconds.", False),
        (503, "draining", "Live mode is paused. It continues automatically.", False),
        (401, "key_missing", "The backend requires an API key.", True),
    ],
)
def test_error_of_the_backend_delays_or_stops_the_camera(
    start: OpenPage, status: int, code: str, message: str, stopped: bool
) -> None:
    body = f'{{"status": {status}, "code": "{code}"}}'.encode()
    response = FakeResponse(body, status, {"Retry-After": "3"})
    with serving(models_response(first="digit"), classify=response) as (url, _):
        app = send_frame(open_camera(start, url), 1, jpeg())
        data = camera_data(app)
        assert message in data["message"]
        assert data["is_stopped"] is stopped
        assert data["wait"] >= 2
        response.status, response.body = 200, CLASSIFICATION_JSON
        data = camera_data(send_frame(app, 2, jpeg()))
        assert (data["message"], data["wait"], data["is_stopped"]) == ("", 0, False)
        assert (data["answered"], data["announcement"]) == (2, "1")
