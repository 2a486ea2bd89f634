"""Classified frames as text: WebVTT captions, frequencies of the predictions, a table, a CSV."""

import csv
import html
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from client import ClientError
from evaluation.escaping import escape_formula
from frontend.service import errors
from frontend.service.predictions import Outcome
from frontend.ui import formatting
from frontend.ui.formatting import MEDIUM_CONFIDENCE, percent
from frontend.views.video.result import ClassifiedFrame, VideoResult

MAX_LABEL_LENGTH: Final = 60  # characters: a caption should not hide the video
MAX_LISTED_LABELS: Final = 5  # in the frequencies; the others are counted together
FAILED: Final = "Could not be classified"
CSV_COLUMNS: Final = (
    "time", "until", "prediction", "confidence", "in_distribution", "ood_score", "prediction_set",
    "coverage", "model", "version", "error",
)  # fmt: skip


def to_webvtt(frames: Iterable[ClassifiedFrame], kind: str) -> str:
    """Return WebVTT captions, one per frame; `kind` is the model's input kind."""
    cues = [
        f"{format_time(frame.start)} --> {format_time(max(frame.end, frame.start + 0.001))}\n"
        f"{escape(caption(frame.outcome, kind))}\n"
        for frame in frames
    ]
    return "\n".join(["WEBVTT\n", *cues])


def caption(outcome: Outcome, kind: str) -> str:
    """Return the prediction of a frame with its confidence."""
    name = prediction_name(outcome, kind)
    if isinstance(outcome, ClientError) or (sure := confidence(outcome)) is None:
        return name
    return f"{'Perhaps ' if sure < MEDIUM_CONFIDENCE else ''}{name} ({percent(sure)})"


def prediction_name(outcome: Outcome, kind: str) -> str:
    """Return the predicted label, or that there is none (out of distribution, not classified)."""
    if isinstance(outcome, ClientError):
        return FAILED
    if outcome.in_distribution is False:
        return formatting.not_in_distribution(kind)
    if outcome.labels is not None:
        return shorten(", ".join(score.label for score in outcome.labels) or formatting.NO_LABEL)
    return shorten(outcome.prediction)


def confidence(outcome: Outcome) -> float | None:
    """Return the confidence.

    None if the frame is out of distribution, has no or several labels, or is not classified.
    """
    if isinstance(outcome, ClientError) or outcome.in_distribution is False:
        return None
    if outcome.labels is not None:
        return outcome.labels[0].probability if len(outcome.labels) == 1 else None
    return outcome.confidence


def shorten(label: str) -> str:
    """Return a label as one line of at most MAX_LABEL_LENGTH characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in label).split()) or "(no name)"
    return line if len(line) <= MAX_LABEL_LENGTH else f"{line[: MAX_LABEL_LENGTH - 1]}…"


def escape(text: str) -> str:
    """Escape a line of text for WebVTT, in which `-->`, `<` and `&` have a meaning."""
    return html.escape(" ".join(text.split()), quote=False)


def format_time(seconds: float) -> str:
    """Return a WebVTT timestamp, such as 00:01:02.500."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def frequencies(frames: Sequence[ClassifiedFrame], kind: str) -> list[str]:
    """Return one line per prediction with its number of frames, the most frequent first."""
    total = len(frames)
    counts = Counter(prediction_name(frame.outcome, kind) for frame in frames).most_common()
    listed = len(counts) if len(counts) <= MAX_LISTED_LABELS + 1 else MAX_LISTED_LABELS
    lines = [
        f"{name}: {number:,} of {formatting.count(total, 'frame', 'frames')} "
        f"({percent(number / total)})"
        for name, number in counts[:listed]
    ]
    if rest := counts[listed:]:
        number = sum(count for _, count in rest)
        lines.append(
            f"{len(rest)} other classes: {number:,} of {total:,} frames ({percent(number / total)})"
        )
    return lines


def to_rows(frames: Sequence[ClassifiedFrame], kind: str) -> list[dict[str, object]]:
    """Return one table row per frame."""
    return [
        {
            "Time (s)": frame.start,
            "Prediction": escape_formula(prediction_name(frame.outcome, kind)),
            "Confidence": percent(sure) if (sure := confidence(frame.outcome)) else "",
        }
        for frame in frames
    ]


def to_csv(result: VideoResult) -> str:
    """Return a CSV with a header and one line per frame; unknown values are empty cells."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for frame in result.frames:
        writer.writerow(map(_to_cell, _to_csv_row(frame, result)))
    return out.getvalue()


def _to_csv_row(frame: ClassifiedFrame, result: VideoResult) -> list[object]:
    times = [round(frame.start, 3), round(frame.end, 3)]
    outcome = frame.outcome
    if isinstance(outcome, ClientError):
        model = result.request.model
        reason = errors.describe(outcome).message
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


def _to_cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return escape_formula(value) if isinstance(value, str) else value
