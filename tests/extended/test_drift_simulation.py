"""False alerts of a model on stationary traffic, and how soon a change of a fifth is found.

Prints the figures of docs/monitoring.md:

    .venv/bin/python -m pytest -s tests/extended/test_drift_simulation.py
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import chi2, norm

from backend.history.change_detection import (
    Bet,
    Numbers,
    bet_on_errors,
    bet_on_tails,
    find_changes,
)
from backend.history.drift import (
    MIN_FEEDBACK,
    MIN_REFERENCE,
    RECENT,
    RECENT_FEEDBACK,
    THRESHOLD,
    bet_on_labels,
    bet_on_sizes,
    wilson,
)

SHARE = 0.2  # of the images that change
FEEDBACK = 0.1  # share of answers with feedback
DAYS = 30
RUNS = int(os.environ.get("PRISM_DRIFT_RUNS", "100"))  # of the detection
Rng = np.random.Generator
Draw = Callable[[Rng, int], Numbers]


@dataclass(frozen=True)
class Series:
    """A made-up statistic, and its values for images of another kind.

    `similarity` is the correlation of the images of a person, of normal variables with their ranks.
    """

    draw: Draw
    draw_other: Draw
    similarity: float
    make_bet: Callable[[Numbers], Bet] = lambda _: bet_on_tails

    def draw_of_people(self, rng: Rng, size: int, images: float) -> Numbers:
        """Return values of people with this number of images on average, in a row."""
        if images <= 1:
            return self.draw(rng, size)
        person = np.repeat(np.arange(size), rng.geometric(1 / images, size))[:size]
        own, common = rng.normal(size=size), rng.normal(size=size)[person]
        latent = np.sqrt(self.similarity) * common + np.sqrt(1 - self.similarity) * own
        drawn = np.sort(self.draw(rng, 50_000))
        values: Numbers = drawn[(norm.cdf(latent) * len(drawn)).astype(int).clip(0, len(drawn) - 1)]
        return values


def _confidence(rng: Rng, size: int) -> Numbers:
    sure = 1 - rng.beta(0.5, 30, size)
    return np.where(rng.random(size) < 0.7, sure, rng.uniform(0.1, 1, size)).round(3)


SERIES = {
    "labels": Series(
        lambda rng, size: np.minimum(rng.zipf(1.5, size), 1000).astype(float),
        lambda rng, size: np.full(size, 7.0),
        0.5,
        bet_on_labels,
    ),
    "confidence": Series(_confidence, lambda rng, size: rng.uniform(0.1, 0.5, size), 0.3),
    "set_size": Series(
        lambda rng, size: rng.geometric(0.6, size).astype(float),
        lambda rng, size: rng.geometric(0.6, size).astype(float) + 3,
        0.3,
    ),
    "out_of_distribution": Series(
        lambda rng, size: rng.normal(size=size), lambda rng, size: rng.normal(2, 1, size), 0.5
    ),
    "brightness": Series(
        lambda rng, size: rng.beta(6, 6, size), lambda rng, size: rng.beta(3, 12, size), 0.5
    ),
    "pixels": Series(
        lambda rng, size: rng.choice([1e5, 1e6, 12e6], size, p=[0.3, 0.3, 0.4]),
        lambda rng, size: np.full(size, 8e6),
        0.999,
        bet_on_sizes,
    ),
    "error_rate": Series(
        lambda rng, size: (rng.random(size) < 0.1).astype(float),
        lambda rng, size: np.ones(size),
        0.3,
        lambda _: bet_on_errors(0.05),
    ),
}


def _find(name: str, values: Numbers, days: Numbers, minimum: int) -> tuple[int, ...]:
    """Return the indices of the images that raise an alarm."""
    bet = SERIES[name].make_bet(values[:minimum])
    found = find_changes(values, days, bet, minimum=minimum, threshold=THRESHOLD)
    return tuple(minimum + alarm for alarm in found.alarms)


def _alerts(alarms: tuple[int, ...], recent: int) -> int:
    """Return the number of alerts: alarms within `recent` images of the last one belong to it."""
    return sum(
        before is None or alarm - before > recent
        for before, alarm in zip((None, *alarms), alarms, strict=False)
    )


def _draw_times(rng: Rng, size: int, days: float) -> Numbers:
    """Return times of day, of which a fifth as many are at night or on a weekend."""
    times = rng.uniform(0, days, 6 * size)
    is_busy = (times % 7 < 5) & (times % 1 > 0.3) & (times % 1 < 0.8)
    kept = times[is_busy | (rng.random(len(times)) < 0.2)]
    return np.sort(rng.choice(kept, size))


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    ("images_per_day", "runs"), [(20, 200), (100, 200), (1000, 40), (10_000, 6)]
)
def test_false_alerts_of_a_model_on_stationary_traffic(
    images_per_day: int, runs: int, images: int
) -> None:
    """People send `images` on average, which resemble each other."""
    rng = np.random.default_rng(images_per_day)
    alerts = dict.fromkeys(SERIES, 0)
    for _ in range(runs):
        for name, series in SERIES.items():
            is_feedback = name == "error_rate"
            minimum = MIN_FEEDBACK if is_feedback else MIN_REFERENCE
            size = minimum + int(DAYS * images_per_day * (FEEDBACK if is_feedback else 1))
            days = _draw_times(rng, size, DAYS * size / (size - minimum))
            values = series.draw_of_people(rng, size, images)
            alarms = _find(name, values, days, minimum)
            alerts[name] += _alerts(alarms, RECENT_FEEDBACK if is_feedback else RECENT)
    total = sum(alerts.values())
    low, high = chi2.ppf((0.025, 0.975), (2 * total, 2 * total + 2)) / 2 / runs
    print(
        f"\n{images_per_day} images a day, {images} of each person, {runs} months: "
        f"{total / runs:.2f} false alerts a month ({np.nan_to_num(low):.2f} to {high:.2f}),",
        {name: count for name, count in alerts.items() if count},
    )
    assert total / runs <= 1


@pytest.mark.parametrize("images_per_day", [1000, 1_000_000])
@pytest.mark.parametrize("before", [1000, 2500, 10_000])
@pytest.mark.parametrize("name", list(SERIES))
def test_change_of_a_fifth_is_found_within_500_images(
    name: str, before: int, images_per_day: int
) -> None:
    """Only one statistic changes. The error rate counts reviewed answers only."""
    rng = np.random.default_rng(before)
    after = 500
    minimum = MIN_FEEDBACK if name == "error_rate" else MIN_REFERENCE
    delays = []
    for _ in range(RUNS):
        values = SERIES[name].draw(rng, before + after)
        is_changed = rng.random(before + after) < SHARE
        is_changed[:before] = False
        values[is_changed] = SERIES[name].draw_other(rng, int(is_changed.sum()))
        days = np.sort(rng.uniform(0, (before + after) / images_per_day, before + after))
        alarms = [one - before for one in _find(name, values, days, minimum) if one >= before]
        delays.append(alarms[0] + 1 if alarms else np.inf)
    found = int(np.isfinite(delays).sum())
    median, late = np.quantile(delays, [0.5, 0.9], method="higher")
    low, high = wilson(found, RUNS)
    print(
        f"\n{name} after {before}, {images_per_day} a day: found {found / RUNS:.0%} "
        f"({low:.0%} to {high:.0%}), median {median:.0f}, 90% {late:.0f} images"
    )
    assert found / RUNS >= 0.9
