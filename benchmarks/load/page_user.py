"""One session of a simulated user of the frontend."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from random import Random
from time import sleep

from benchmarks.load.images import make_stroke
from deploy.credentials import id_token
from deploy.page_session import Session

Measure = Callable[[str], AbstractContextManager[None]]


def draw_digit(url: str, strokes: int, pause: tuple[float, float], measure: Measure) -> None:
    """Open the page at `url`, go to Draw, draw `strokes` strokes and leave.

    `pause` is the range of seconds before a stroke. Each step runs within `measure(name)`.
    Raise OSError, RuntimeError or LookupError if the page does not respond as expected.
    """
    rng = Random()
    with ExitStack() as stack:
        with measure("open the page"):
            session = stack.enter_context(Session(url, id_token("FRONTEND_ID_TOKEN", url)))
            session.open()
            _expect(session, "Classify")
        with measure("go to Draw"):
            session.open("draw")
            _expect(session, "Draw")
        for _ in range(strokes):
            sleep(rng.uniform(*pause))
            with measure("draw a stroke"):
                drawing = {"png": make_stroke(rng), "strokes": []}
                session.set_component("drawing_pad", {"drawing": drawing})
                _expect(session, "%")


def _expect(session: Session, text: str) -> None:
    page = " ".join(session.texts())
    if text not in page:
        raise RuntimeError(f"{text!r} is not on the page: …{page[-80:]}")
