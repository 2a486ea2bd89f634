"""What tests do with the pages without a browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.client.server import Answer

APP = Path(__file__).parents[2] / "frontend" / "app.py"

Start = Callable[..., AppTest]


def shown(app: AppTest) -> str:
    """Return all that the page says."""
    assert not app.exception
    kinds: tuple[Any, ...] = (app.title, app.subheader, app.markdown, app.caption)
    notices: tuple[Any, ...] = (app.error, app.info, app.warning)
    text = "\n".join(element.value for kind in kinds + notices for element in kind)
    return text.replace("\\", "")


def models(**states: str) -> Answer:
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
    return Answer(json.dumps({"default": next(iter(states), None), "models": served}).encode())
