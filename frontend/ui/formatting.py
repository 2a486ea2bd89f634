"""Answers in words: how sure, and honestly so."""

import re
from collections.abc import Sequence

from client import Classification, Guess, Timings

SURE = 0.95
LIKELY = 0.75
EVEN = 0.5
WORTH_NAMING = 0.05
MOST_LABELS = 10  # of a prediction set; the others are counted

JOINER = "\u2060"  # has no width, and breaks no line
# Where an icon (:name:), a directive (:red[x]), an arrow, a dash or a link would begin.
_MAGIC = re.compile(
    r"(?<=:)(?=(?!\d{1,2}:)[\w+-]+[:\[])|(?<=:)(?=//)|(?<=[-<=])(?=[->=])|(?<=@)(?=\w)|(?<=www)(?=\.)",
    re.IGNORECASE,
)

_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")


def percent(probability: float) -> str:
    """Write a probability in [0, 1] so that only what is certain reads 100 %."""
    if probability >= 0.9995:
        return "100 %" if probability == 1 else "> 99.9 %"
    if 0 < probability < 0.001:
        return "< 0.1 %"
    if probability < 0.01 or probability >= 0.99:
        return f"{probability * 100:.1f} %" if probability else "0 %"
    return f"{probability * 100:.0f} %"


def plain(text: str) -> str:
    """Escape text from elsewhere (labels, file names) so that Markdown shows it as it is.

    Streamlit makes icons, arrows and links of what no backslash protects: there, an invisible
    character keeps the parts of it apart.
    """
    return escaped(_MAGIC.sub(JOINER, text))


def escaped(text: str) -> str:
    """Escape Markdown in a text of our own, in which an address stays whole: it may be copied."""
    return _MARKDOWN.sub(r"\\\1", re.sub(r"\s+", " ", text))


def noun(label: str, kind: str) -> str:
    """Name a label in a sentence: "a 7", "an 8", or the label itself where it is no digit."""
    bare = _bare(label, kind)
    if bare != label:
        return bare
    return f"an {label}" if label.startswith("8") else f"a {label}"


def answer(result: Classification, kind: str) -> str:
    """Say what the model reads and how sure it is; `kind` is the model's kind of input."""
    if result.in_distribution is False:
        what = "a digit" if kind == "digit" else "anything this model knows"
        return f"This does not look like {what}."
    first, *others = [_named(guess, kind) for guess in _worth_naming(result)]
    if result.confidence >= SURE:
        return f"This is {first}."
    if result.confidence >= LIKELY:
        return f"Very likely {first}."
    if result.confidence >= EVEN:
        return f"Probably {first}" + (f", maybe {others[0]}." if others else ".")
    return f"Hard to say: perhaps {_alternatives([first, *others])}."


def certainty(result: Classification) -> str:
    """Say in a word or two how sure the answer is."""
    if result.in_distribution is False:
        return "unlike what it knows"
    if result.confidence >= SURE:
        return "sure"
    if result.confidence >= LIKELY:
        return "very likely"
    return "probably" if result.confidence >= EVEN else "hard to say"


def addition(result: Classification, kind: str) -> str | None:
    """Say what is to be known besides the answer: what is promised, or what would be closest."""
    if result.in_distribution is False:
        return f"The closest would be {noun(result.prediction, kind)}."
    return coverage(result, kind)


def coverage(result: Classification, kind: str) -> str | None:
    """Say what the prediction set promises, or None where the model is not calibrated."""
    if not result.prediction_set or result.coverage is None:
        return None
    first, *others = result.prediction_set
    promise = f"with {level(result.coverage)} coverage."
    if not others:
        name = noun(first, kind)
        return f"{name[0].upper()}{name[1:]}, {promise}"
    named = [_bare(label, kind) for label in result.prediction_set[:MOST_LABELS]]
    if rest := len(result.prediction_set) - len(named):
        named.append(f"one of {rest} more")
    return f"{_alternatives(named)}: one of these {promise}"


def level(share: float) -> str:
    """Write a coverage in (0, 1), which is exactly what it says."""
    return f"{100 * share:g} %"


def calibration(error: float) -> str:
    """Say how far percentages can be taken at their word, by the expected calibration error."""
    off = f"{100 * error:.1f}" if error >= 0.0005 else "less than 0.1"
    return f"On its test pictures its percentages are off by {off} points on average."


def timings(spent: Timings) -> str:
    """Say where the time went."""
    return (
        f"Decoded in {_ms(spent.decode)}, waited {_ms(spent.queue)}, "
        f"classified in {_ms(spent.inference)}"
    )


def seconds(number: float) -> str:
    """Write a time to wait in whole seconds, one at least."""
    return count(max(1, round(number)), "second", "seconds")


def mega(size: int) -> str:
    """Write a number of bytes."""
    return f"{size / 1e6:,.0f} MB"


def count(number: int, one: str, many: str) -> str:
    """Write a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def _worth_naming(result: Classification) -> Sequence[Guess]:
    """Return up to three guesses, the prediction first and the others only if they matter."""
    first = Guess(result.prediction, -1, result.confidence)
    others = [
        guess
        for guess in result.top
        if guess.label != result.prediction and guess.probability >= WORTH_NAMING
    ]
    return [first, *others[:2]]


def _bare(label: str, kind: str) -> str:
    return label if kind == "digit" and label.isascii() and label.isdigit() else f"“{label}”"


def _named(guess: Guess, kind: str) -> str:
    return f"{noun(guess.label, kind)} ({percent(guess.probability)})"


def _alternatives(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} or {items[-1]}"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
