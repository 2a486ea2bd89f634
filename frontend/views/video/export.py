"""Answers as WebVTT captions, which players lay over the picture."""

import html
from collections.abc import Iterable
from typing import Final

from client import ClientError
from frontend.service.predictions import Outcome
from frontend.ui.formatting import EVEN, percent
from frontend.views.video.result import Answered

MOST_CHARACTERS: Final = 60  # of a label: a caption should not hide the picture


def webvtt(frames: Iterable[Answered], kind: str) -> str:
    """Return captions, one for each frame, as long as it is seen."""
    cues = [
        f"{clock(frame.start)} --> {clock(max(frame.end, frame.start + 0.001))}\n"
        f"{escaped(caption(frame.outcome, kind))}\n"
        for frame in frames
    ]
    return "\n".join(["WEBVTT\n", *cues])


def caption(outcome: Outcome, kind: str) -> str:
    """Say in a few words what a frame shows; `kind` is the model's kind of input."""
    if isinstance(outcome, ClientError):
        return "This picture could not be read"
    if outcome.in_distribution is False:
        return f"Does not look like {known(kind)}"
    perhaps = "Perhaps " if outcome.confidence < EVEN else ""
    return f"{perhaps}{shortened(outcome.prediction)} ({percent(outcome.confidence)})"


def known(kind: str) -> str:
    """Name what a model knows."""
    return "a digit" if kind == "digit" else "anything this model knows"


def shortened(label: str) -> str:
    """Return a label in one line that is not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in label).split()) or "(no name)"
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def escaped(text: str) -> str:
    """Return one line that says this text in WebVTT, where `-->`, `<` and `&` mean something."""
    return html.escape(" ".join(text.split()), quote=False)


def clock(seconds: float) -> str:
    """Write a time as WebVTT does: 00:01:02.500."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
