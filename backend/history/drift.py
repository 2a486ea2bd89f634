"""Drift of a model: how its images and answers differ from those of its reference, and by day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.history import change_detection
from backend.history.change_detection import Bet, Numbers

MIN_REFERENCE: Final = 500  # images before the first test
MAX_REFERENCE: Final = change_detection.MAX_REFERENCE
MIN_FEEDBACK: Final = 100  # answers with feedback before the first test of the error rate
MAX_IMAGES: Final = 5000  # newest images that are tested, besides the reference
MAX_FEEDBACK: Final = 1000  # newest answers with feedback that are tested, besides the reference
RECENT: Final = 500  # images whose mean is the value, and whose evidence is an alert
RECENT_FEEDBACK: Final = 100  # the same for the error rate
MAX_DAY_IMAGES: Final = 2000  # the means of a day are those of about as many
MAX_LABELS: Final = 10  # labels whose shares are returned
ALARM_DAYS: Final = 30  # expected days between two false alarms of a model, at least
STATISTICS: Final = (
    "labels", "confidence", "set_size", "out_of_distribution", "brightness", "pixels", "error_rate",
)  # fmt: skip
THRESHOLD: Final = float(np.log10(ALARM_DAYS * len(STATISTICS)))  # of the evidence, as log10

_MIN_LABEL_SHARE: Final = 0.02
_MIN_ERROR_RATE: Final = 0.05
_Z95: Final = 1.959964  # quantile of the normal distribution for an interval of 95%
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Observation(NamedTuple):
    """What drift needs of one stored classification.

    `ood_score` is None if the model has none, `is_confirmed` without feedback. `brightness` is in
    [0, 1]; it and `pixels` are None if they are not known.
    """

    id: str
    time: datetime
    prediction: str
    confidence: float
    set_size: int | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    brightness: float | None
    pixels: int | None
    corrected_at: datetime | None
    is_confirmed: bool | None


class Means(NamedTuple):
    """Number and means of images; None where nothing is known."""

    images: int
    confidence: float | None
    set_size: float | None
    out_of_distribution: float | None
    brightness: float | None
    pixels: float | None


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic and the evidence that it has changed.

    `value` is the mean of the recent images, `reference` that of the reference; both are None as
    long as there are too few images. For `labels`, the value is the total variation distance
    between the shares of the labels, in [0, 1]. `evidence` is the largest one of the recent images,
    as log10. `since` is the time of the first alarm of the present alert.
    """

    name: str
    images: int
    value: float | None = None
    reference: float | None = None
    evidence: float | None = None
    since: datetime | None = None

    @property
    def alert(self) -> bool:
        """Whether the evidence of the recent images reaches the threshold."""
        return self.evidence is not None and self.evidence >= THRESHOLD


@dataclass(frozen=True, slots=True)
class LabelShare:
    """Share of the recent images with a prediction, and of those of the reference."""

    label: str
    value: float
    reference: float


@dataclass(frozen=True, slots=True)
class Day:
    """Means of the classifications of one day; None where nothing is known.

    Means of more than `MAX_DAY_IMAGES` are those of a random sample of at least as many.
    `out_of_distribution` is the share of images that show none of the model's classes. `labels` are
    the numbers of the most frequent predictions. `accuracy` is that of the answers with feedback,
    with Wilson's interval of 95%.
    """

    day: str
    images: int
    confidence: float
    set_size: float | None
    out_of_distribution: float | None
    brightness: float | None
    pixels: float | None
    labels: dict[str, int]
    confirmed: int
    corrected: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of one version of a model."""

    images: int
    reference_images: int
    coverage: float | None  # of the prediction sets that `set_size` counts
    statistics: tuple[Statistic, ...]
    labels: tuple[LabelShare, ...]  # those that changed most

    @property
    def alert(self) -> bool:
        """Whether any statistic has an alert."""
        return any(one.alert for one in self.statistics)


def find_drift(observations: Sequence[Observation], feedback: Sequence[Observation]) -> Drift:
    """Test the observations of one version, the oldest first, against the first of them.

    `feedback` are those with feedback. They may be older: few answers have feedback.
    """
    coverage = usual_coverage(observations[:MAX_REFERENCE])
    days = np.array([_days(one.time) for one in observations])
    names = sorted({one.prediction for one in observations})
    code_of = {name: number for number, name in enumerate(names)}
    codes = np.array([code_of[one.prediction] for one in observations], float)
    columns: dict[str, tuple[Numbers, Numbers]] = {  # values to test, values to average
        "labels": (codes, codes),
        "confidence": _twice([one.confidence for one in observations]),
        "set_size": _twice(
            [one.set_size if one.coverage == coverage else None for one in observations]
        ),
        "out_of_distribution": (
            _column([one.ood_score for one in observations]),
            _column([_share(one.in_distribution, inverted=True) for one in observations]),
        ),
        "brightness": _twice([one.brightness for one in observations]),
        "pixels": _twice([one.pixels for one in observations]),
    }
    bets = {
        "labels": bet_on_labels(codes),
        "pixels": bet_on_sizes(columns["pixels"][0]),
    }
    found: list[Statistic] = []
    labels: tuple[LabelShare, ...] = ()
    size = 0
    for name, (tested, averaged) in columns.items():
        bet = bets.get(name, change_detection.bet_on_tails)
        statistic, recent, reference = _test(
            name, tested, averaged, days, bet, MIN_REFERENCE, RECENT
        )
        if name == "labels":
            size = len(reference)
            labels, distance = _compare_labels(names, recent, reference)
            statistic = _with_values(statistic, distance, None)
        found.append(statistic)
    feedback = sorted(feedback, key=lambda one: one.corrected_at or one.time)
    wrong = _column([_share(one.is_confirmed, inverted=True) for one in feedback])
    times = np.array([_days(one.corrected_at or one.time) for one in feedback])
    bet = change_detection.bet_on_errors(_MIN_ERROR_RATE)
    found.append(_test("error_rate", wrong, wrong, times, bet, MIN_FEEDBACK, RECENT_FEEDBACK)[0])
    return Drift(len(observations), size, coverage, tuple(found), labels)


def bet_on_labels(codes: Numbers) -> Bet:
    """Return bets on frequent labels, and on those that become frequent."""
    on_labels = change_detection.bet_on_labels(codes[:MIN_REFERENCE], _MIN_LABEL_SHARE)
    return change_detection.combine(on_labels, change_detection.bet_on_frequent)


def bet_on_sizes(pixels: Numbers) -> Bet:
    """Return bets on small and large images, and on frequent sizes.

    Images of another camera often have one size, which may be between those of the reference.
    """
    known = pixels[~np.isnan(pixels)]
    return change_detection.combine(change_detection.bet_on_tails, bet_on_labels(known))


def usual_coverage(observations: Sequence[Observation]) -> float | None:
    """Return the most frequent coverage of the prediction sets; None without any."""
    counts = Counter(one.coverage for one in observations if one.coverage is not None)
    return counts.most_common(1)[0][0] if counts else None


def summarize_day(
    day: str,
    images: int,
    sample: Means,
    labels: Sequence[tuple[str, int]],
    reviewed: int,
    confirmed: int,
) -> Day:
    """Return a day with `images`, given the means and the most frequent labels of a sample."""
    low, high = wilson(confirmed, reviewed) if reviewed else (None, None)
    return Day(
        day=day,
        images=images,
        confidence=sample.confidence or 0.0,
        set_size=_float(sample.set_size),
        out_of_distribution=_float(sample.out_of_distribution),
        brightness=sample.brightness,
        pixels=sample.pixels,
        labels={label: round(count * images / sample.images) for label, count in labels},
        confirmed=confirmed,
        corrected=reviewed - confirmed,
        accuracy=confirmed / reviewed if reviewed else None,
        accuracy_low=low,
        accuracy_high=high,
    )


def wilson(successes: int, total: int) -> tuple[float, float]:
    """Return Wilson's score interval of 95% for the share `successes / total` (Wilson 1927)."""
    share, z = successes / total, _Z95
    center = share + z * z / (2 * total)
    margin = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max((center - margin) / scale, 0.0), min((center + margin) / scale, 1.0)


def _test(
    name: str,
    tested: Numbers,
    averaged: Numbers,
    days: Numbers,
    bet: Bet,
    minimum: int,
    recent: int,
) -> tuple[Statistic, Numbers, Numbers]:
    """Return the statistic, and the averaged values of the recent images and of the reference."""
    known = ~np.isnan(tested)
    tested, averaged, days = tested[known], averaged[known], days[known]
    evidence = change_detection.find_changes(
        tested, days, bet, minimum=minimum, threshold=THRESHOLD
    )
    log10, size = evidence.log10, evidence.reference_size
    if not len(log10):
        return Statistic(name, len(tested)), averaged[:0], averaged[:size]
    latest, reference = averaged[minimum:][-recent:], averaged[:size]
    # The alert began with the first of the alarms that follow each other within `recent` images.
    since, last = None, len(log10)
    for alarm in reversed(evidence.alarms):
        if last - alarm > recent:
            break
        since, last = alarm, alarm
    statistic = Statistic(
        name,
        len(tested),
        _mean(latest),
        _mean(reference),
        float(log10[-recent:].max()),
        None if since is None else _EPOCH + timedelta(days=float(days[minimum + since])),
    )
    return statistic, latest, reference


def _with_values(statistic: Statistic, value: float | None, reference: float | None) -> Statistic:
    return Statistic(
        statistic.name, statistic.images, value, reference, statistic.evidence, statistic.since
    )


def _compare_labels(
    names: Sequence[str], recent: Numbers, reference: Numbers
) -> tuple[tuple[LabelShare, ...], float | None]:
    """Return the labels that changed most, and the total variation distance of all shares."""
    if not len(recent):
        return (), None
    now = np.bincount(recent.astype(int), minlength=len(names)) / len(recent)
    before = np.bincount(reference.astype(int), minlength=len(names)) / len(reference)
    order = np.argsort(-np.abs(now - before), kind="stable")[:MAX_LABELS]
    changed = tuple(LabelShare(names[i], float(now[i]), float(before[i])) for i in order)
    return changed, float(np.abs(now - before).sum() / 2)


def _days(time: datetime) -> float:
    return (time - _EPOCH) / timedelta(days=1)


def _share(value: bool | None, *, inverted: bool) -> float | None:
    return None if value is None else float(value != inverted)


def _column(values: Sequence[float | None]) -> Numbers:
    return np.array(values, float)  # None becomes NaN


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)  # PostgreSQL averages integers as decimals


def _twice(values: Sequence[float | None]) -> tuple[Numbers, Numbers]:
    column = _column(values)
    return column, column


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
