"""Helpers for the app without a browser."""

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.client.fake_server import FakeResponse
from tests.images import encoded, seven

APP = Path(__file__).parents[2] / "frontend" / "navigation.py"
CLASSIFY, DRAW = "views/classify/page.py", "views/draw/page.py"
SEVEN = encoded(seven())
CLASSIFICATION_JSON = b"""{"id": "1", "model": {"name": "first", "version": "1"}, "prediction": "1",
"confidence": 0.9, "top": [{"label": "1", "index": 1, "probability": 0.9}], "stored": false}"""


def page_text(app: AppTest) -> str:
    """Return the text of the page."""
    assert not app.exception
    kinds: tuple[Any, ...] = (app.title, app.header, app.subheader, app.markdown, app.caption)
    notices: tuple[Any, ...] = (app.error, app.info, app.warning)
    text = "\n".join(element.value for kind in kinds + notices for element in kind)
    return text.replace("\\", "")


def is_heading_revealed(app: AppTest) -> bool:
    """Return whether the heading of the result follows the element that is scrolled into view."""
    kinds = [
        "announce" if getattr(element.proto, "component_name", "") == "announce" else element.type
        for element in app.main
    ]
    return kinds.index("announce") < kinds.index("header")


def upload_files(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, content, "image/png") for name, content in files])
    return app.run()


def click(app: AppTest, label: str) -> AppTest:
    """Click the first button with that label."""
    return next(button for button in app.button if button.label == label).click().run()


def draw_on_pad(
    app: AppTest, png: bytes | None = SEVEN, *, drawing_id: str = "first", finished: bool = False
) -> AppTest:
    """Set the drawing on the Draw page; None empties the pad."""
    url = "data:image/png;base64," + base64.b64encode(png).decode() if png else None
    value = {"png": url, "id": drawing_id, "finished": finished}
    app.session_state["pad"] = {"drawing": value}
    return app.run()


def models_response(**states: str) -> FakeResponse:
    """Return a response of /models; a value is a state, or the input kind of a ready model."""
    served = [
        {
            "name": name,
            "title": name.upper(),
            "state": state if state in ("loading", "failed") else "ready",
            "error": "The weights are damaged." if state == "failed" else None,
            "labels": ["0", "1"],
            "input": {"kind": "image" if state == "image" else "digit", "shape": [1, 28, 28]},
        }
        for name, state in states.items()
    ]
    return FakeResponse(
        json.dumps({"default": next(iter(states), None), "models": served}).encode()
    )


def zipped(**files: bytes) -> bytes:
    """Return a zip of the files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def zip_of_sevens(first: int) -> tuple[str, bytes]:
    """Return a zip of 20 images of a 7, numbered from `first` on."""
    files = {f"{i:02d}.png": encoded(seven(first + i)) for i in range(20)}
    return "digits.zip", zipped(**files)


def wait_for_jobs(app: AppTest) -> AppTest:
    """Rerun the page until no job is running."""
    while any(button.label in ("Stop", "Stopping…") for button in app.button):
        app.run()
    return app
