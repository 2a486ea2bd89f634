"""The app without a browser: opened, uploaded to, read."""

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.client.fake_server import FakeResponse
from tests.images import encoded, seven

APP = Path(__file__).parents[2] / "frontend" / "app.py"
CLASSIFY, DRAW = "views/classify/page.py", "views/draw/page.py"
SEVEN = encoded(seven())
ONE = b"""{"id": "1", "model": {"name": "first", "version": "1"}, "prediction": "1",
"confidence": 0.9, "top": [{"label": "1", "index": 1, "probability": 0.9}], "stored": false}"""


def shown(app: AppTest) -> str:
    """Return all that the page says."""
    assert not app.exception
    kinds: tuple[Any, ...] = (app.title, app.subheader, app.markdown, app.caption)
    notices: tuple[Any, ...] = (app.error, app.info, app.warning)
    text = "\n".join(element.value for kind in kinds + notices for element in kind)
    return text.replace("\\", "")


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, content, "image/png") for name, content in files])
    return app.run()


def press(app: AppTest, label: str) -> AppTest:
    """Press the first button of that name."""
    return next(button for button in app.button if button.label == label).click().run()


def draw(app: AppTest, png: bytes = SEVEN) -> AppTest:
    """Put this on the pad of the page Draw."""
    url = "data:image/png;base64," + base64.b64encode(png).decode()
    app.session_state["pad"] = {"drawing": {"png": url}}
    return app.run()


def models(**states: str) -> FakeResponse:
    """Return an answer to /models: names with their state, or their kind of input if ready."""
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
    return FakeResponse(json.dumps({"default": next(iter(states), None), "models": served}).encode())


def zipped(**files: bytes) -> bytes:
    """Return a zip of files by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def twenty(first: int) -> tuple[str, bytes]:
    """Return a zip of twenty sevens, which differ from those of another `first`."""
    files = {f"{i:02d}.png": encoded(seven(first + i)) for i in range(20)}
    return "digits.zip", zipped(**files)


def until_read(app: AppTest) -> AppTest:
    """Run the page until no job is under way."""
    while any(button.label in ("Stop", "Stopping…") for button in app.button):
        app.run()
    return app
