"""What was seen when: as a table to look at and to download, and how often in words."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Final

from client import ClientError
from evaluation.spreadsheet import harmless
from frontend.service import errors
from frontend.service.predictions import Outcome
from frontend.ui import formatting
from frontend.views.video.export import known, shortened
from frontend.views.video.result import Answered, Reading

COLUMNS: Final = (
    "time", "until", "prediction", "confidence", "in_distribution", "ood_score", "prediction_set",
    "coverage", "model", "version", "error",
)  # fmt: skip
MOST_NAMED: Final = 5  # kinds of answers that are named in words; the others are counted
UNREAD: Final = "Could not be read"


def seen(outcome: Outcome, kind: str) -> str:
    """Name what a frame was taken for: a label, that it is none, or that it was not read."""
    if isinstance(outcome, ClientError):
        return UNREAD
    if outcome.in_distribution is False:
        return f"Not {known(kind)}"
    return shortened(outcome.prediction)


def confidence(outcome: Outcome) -> float | None:
    """Return how sure the model is of the class; None where the frame is taken for none."""
    if isinstance(outcome, ClientError) or outcome.in_distribution is False:
        return None
    return outcome.confidence


def counted(frames: Sequence[Answered], kind: str) -> list[tuple[str, int]]:
    """Return what was seen and in how many frames, the most frequent first."""
    return Counter(seen(frame.outcome, kind) for frame in frames).most_common()


def frequencies(frames: Sequence[Answered], kind: str) -> list[str]:
    """Say how often each class was seen."""
    total = len(frames)
    counts = counted(frames, kind)
    named = len(counts) if len(counts) <= MOST_NAMED + 1 else MOST_NAMED
    lines = [
        f"{name}: {number:,} of {total:,} frame{'' if total == 1 else 's'} "
        f"({formatting.percent(number / total)})"
        for name, number in counts[:named]
    ]
    if rest := counts[named:]:
        number = sum(count for _, count in rest)
        lines.append(
            f"{len(rest)} other classes: {number:,} of {total:,} frames "
            f"({formatting.percent(number / total)})"
        )
    return lines


def rows(frames: Sequence[Answered], kind: str) -> list[dict[str, object]]:
    """Return a row for each frame, to be looked at."""
    return [
        {
            "Second": frame.start,
            "Answer": seen(frame.outcome, kind),
            "Confidence": formatting.percent(sure) if (sure := confidence(frame.outcome)) else "",
        }
        for frame in frames
    ]


def as_csv(reading: Reading) -> str:
    """Return a CSV with a header and a line for each frame; what is not known is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for frame in reading.frames:
        writer.writerow(map(_cell, _line(frame, reading)))
    return out.getvalue()


def _line(frame: Answered, reading: Reading) -> list[object]:
    times = [round(frame.start, 3), round(frame.end, 3)]
    outcome = frame.outcome
    if isinstance(outcome, ClientError):
        model = reading.question.model
        reason = errors.of(outcome).what
        return [*times, None, None, None, None, None, None, model.name, model.version, reason]
    return [
        *times,
        outcome.prediction,
        round(outcome.confidence, 6),
        outcome.in_distribution,
        outcome.ood_score,
        None if outcome.prediction_set is None else "; ".join(outcome.prediction_set),
        outcome.coverage,
        outcome.model.name,
        outcome.model.version,
        None,
    ]


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return harmless(value) if isinstance(value, str) else value
