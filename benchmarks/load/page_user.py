"""Visits of the page by one person."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from random import Random
from time import sleep

from benchmarks.load.images import stroke
from deploy.credentials import id_token
from deploy.page_client import Session

Measure = Callable[[str], AbstractContextManager[None]]


def draw(url: str, strokes: int, pause: tuple[float, float], measure: Measure) -> None:
    """Open the page at `url`, go to Draw, draw some strokes, leave.

    `pause` bounds the seconds before a stroke. Each step runs within `measure(name)`. Raises
    OSError, RuntimeError or LookupError where the page does not do what it should.
    """
    rng = Random()
    with ExitStack() as stack:
        with measure("open the page"):
            visitor = stack.enter_context(Session(url, id_token("FRONTEND_ID_TOKEN", url)))
            visitor.open()
            _expect(visitor, "Classify")
        with measure("go to Draw"):
            visitor.open("draw")
            _expect(visitor, "Draw")
        for _ in range(strokes):
            sleep(rng.uniform(*pause))
            with measure("draw a stroke"):
                drawing = {"png": stroke(rng), "strokes": []}
                visitor.set_component("drawing_pad", {"drawing": drawing})
                _expect(visitor, "%")


def _expect(visitor: Session, text: str) -> None:
    said = " ".join(visitor.texts())
    if text not in said:
        raise RuntimeError(f"no {text!r} on the page: …{said[-80:]}")
