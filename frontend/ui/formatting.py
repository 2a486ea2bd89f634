"""Text on the page: confidences, predictions, durations, and Markdown escaping."""

import re
from collections.abc import Sequence

from client import Classification, ClassScore, Timings

VERY_HIGH_CONFIDENCE = 0.95
HIGH_CONFIDENCE = 0.75
MEDIUM_CONFIDENCE = 0.5
MIN_ALTERNATIVE = 0.05  # probability from which another label is listed
MAX_ALTERNATIVES = 2
MAX_SET_DIGITS, MAX_SET_LABELS = 10, 5  # listed of a prediction set; the others are counted
NO_LABEL = "No label reaches its threshold"  # of a multi-label model
OUT_OF_DISTRIBUTION = "This image does not show one of the model's classes"

JOINER = "\u2060"  # zero width, breaks no line
# Where an icon (:name:), a directive (:red[x]), an arrow, a dash or a link would begin.
_STREAMLIT_SYNTAX = re.compile(
    r"(?<=:)(?=(?!\d{1,2}:)[\w+-]+[:\[])|(?<=:)(?=//)|(?<=[-<=])(?=[->=])|(?<=@)(?=\w)|(?<=www)(?=\.)",
    re.IGNORECASE,
)

_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")


def percent(probability: float) -> str:
    """Format a probability in [0, 1]; only exactly 1 reads 100%."""
    if probability >= 0.9995:
        return "100%" if probability == 1 else ">99.9%"
    if 0 < probability < 0.001:
        return "<0.1%"
    if probability < 0.01 or probability >= 0.99:
        return f"{probability * 100:.1f}%" if probability else "0%"
    return f"{probability * 100:.0f}%"


def escape(text: str) -> str:
    """Escape untrusted text (labels, file names) so that Markdown shows it verbatim.

    Streamlit creates icons, arrows and links that no backslash prevents: an invisible character
    separates their parts.
    """
    return escape_copyable(_STREAMLIT_SYNTAX.sub(JOINER, text))


def escape_copyable(text: str) -> str:
    """Escape Markdown in trusted text; URLs stay free of invisible characters for copying."""
    return _MARKDOWN.sub(r"\\\1", re.sub(r"\s+", " ", text))


def label_name(label: str, kind: str) -> str:
    """Return a digit as it is, and any other label in quotes; `kind` is the model's input kind."""
    return label if kind == "digit" and label.isascii() and label.isdigit() else f"“{label}”"


def not_in_distribution(kind: str) -> str:
    """Return the headline of an image that is out of distribution."""
    return "Not a digit" if kind == "digit" else "Not one of the model's classes"


def headline(result: Classification, kind: str) -> str:
    """Return the prediction with its confidence; `kind` is the model's input kind.

    An image out of distribution has no prediction. Of a multi-label model, return the labels that
    reach their thresholds.
    """
    if result.labels is not None:
        return _label_headline(result.labels)
    if result.in_distribution is False:
        return not_in_distribution(kind) if kind == "digit" else OUT_OF_DISTRIBUTION
    name = label_name(result.prediction, kind)
    others = [
        f"{label_name(item.label, kind)} ({percent(item.probability)})"
        for item in result.top
        if item.label != result.prediction and item.probability >= MIN_ALTERNATIVE
    ][:MAX_ALTERNATIVES]
    if result.confidence >= HIGH_CONFIDENCE:
        return f"{name}, {percent(result.confidence)} confidence"
    if result.confidence >= MEDIUM_CONFIDENCE:
        possibly = f", possibly {others[0]}" if others else ""
        return f"Probably {name} ({percent(result.confidence)}){possibly}"
    return f"Uncertain: {_join([f'{name} ({percent(result.confidence)})', *others])}"


def _label_headline(labels: Sequence[ClassScore]) -> str:
    if not labels:
        return NO_LABEL
    names = [f"“{each.label}” ({percent(each.probability)})" for each in labels[:MAX_SET_LABELS]]
    if rest := len(labels) - len(names):
        names.append(f"{rest} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def confidence_level(result: Classification) -> str | None:
    """Return the confidence in one or two words.

    None for an image out of distribution, and for several labels, each with its own confidence.
    """
    if result.in_distribution is False or result.labels is not None:
        return None
    if result.confidence >= VERY_HIGH_CONFIDENCE:
        return "very high"
    if result.confidence >= HIGH_CONFIDENCE:
        return "high"
    return "medium" if result.confidence >= MEDIUM_CONFIDENCE else "low"


def supporting_text(result: Classification, kind: str) -> str | None:
    """Return the prediction set, or what an image out of distribution or without labels means.

    None where the headline says everything.
    """
    if result.labels is not None:
        best = f"“{result.prediction}” ({percent(result.confidence)})"
        return None if result.labels else f"The most probable label is {best}."
    if result.in_distribution is False:
        return f"{OUT_OF_DISTRIBUTION}." if kind == "digit" else None
    return prediction_set_text(result, kind)


def prediction_set_text(result: Classification, kind: str) -> str | None:
    """Return the prediction set with its coverage; None where the model is not calibrated."""
    if not result.prediction_set or result.coverage is None:
        return None
    most = MAX_SET_DIGITS if kind == "digit" else MAX_SET_LABELS
    names = [label_name(label, kind) for label in result.prediction_set[:most]]
    if rest := len(result.prediction_set) - len(names):
        names.append(f"one of {rest} more")
    return f"{_join(names)} ({coverage_percent(result.coverage)} coverage)"


def coverage_percent(coverage: float) -> str:
    """Format a coverage in (0, 1) without rounding."""
    return f"{100 * coverage:g}%"


def calibration_text(error: float) -> str:
    """Describe an expected calibration error in [0, 1]."""
    points = max(0.1, 100 * error)
    return f"Confidence matches accuracy within {points:.1f} points (test set)."


def timings(spent: Timings) -> str:
    """Return the decoding, queue and inference times."""
    decode, queue, inference = map(_milliseconds, (spent.decode, spent.queue, spent.inference))
    return f"Decoding {decode}, queue {queue}, inference {inference}"


def seconds(number: float) -> str:
    """Format a duration in whole seconds, at least 1."""
    return count(max(1, round(number)), "second", "seconds")


def megabytes(size: int) -> str:
    """Format a number of bytes in MB."""
    return f"{size / 1e6:,.0f} MB"


def shorten(text: str, length: int) -> str:
    """Cut out the middle of a longer text: the end of a file name often identifies it."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[-end:]}"


def printable(text: str) -> str:
    """Replace lone surrogates, which occur in file names and which no browser can show."""
    return text.encode("utf-8", "replace").decode()


def count(number: int, singular: str, plural: str) -> str:
    """Format a number with its noun."""
    return f"{number:,} {singular if number == 1 else plural}"


def _join(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} or {items[-1]}"


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
