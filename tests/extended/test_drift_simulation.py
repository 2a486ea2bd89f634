"""False alerts of a model on stationary traffic, and how soon a change of a fifth is found.

Prints the figures of docs/monitoring.md:

    .venv/bin/python -m pytest -s tests/extended/test_drift_simulation.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from backend.history.change_detection import (
    Bet,
    Numbers,
    bet_on_errors,
    bet_on_labels,
    bet_on_tails,
    find_changes,
)
from backend.history.drift import (
    MIN_FEEDBACK,
    MIN_REFERENCE,
    RECENT,
    RECENT_FEEDBACK,
    THRESHOLD,
    bet_on_sizes,
)

SHARE = 0.2  # of the images that change
FEEDBACK = 0.1  # share of answers with feedback
DAYS = 30
Rng = np.random.Generator
Draw = Callable[[Rng, int], Numbers]


@dataclass(frozen=True)
class Series:
    """A made-up statistic, and its values for images of another kind."""

    draw: Draw
    draw_other: Draw
    make_bet: Callable[[Numbers], Bet] = lambda _: bet_on_tails


def _confidence(rng: Rng, size: int) -> Numbers:
    return np.where(rng.random(size) < 0.7, 1 - rng.beta(0.5, 30, size), rng.uniform(0.1, 1, size))


SERIES = {
    "labels": Series(
        lambda rng, size: np.minimum(rng.zipf(1.5, size), 1000).astype(float),
        lambda rng, size: np.full(size, 7.0),
        lambda reference: bet_on_labels(reference, 0.02),
    ),
    "confidence": Series(_confidence, lambda rng, size: rng.uniform(0.1, 0.5, size)),
    "set_size": Series(
        lambda rng, size: rng.geometric(0.6, size).astype(float),
        lambda rng, size: rng.geometric(0.6, size).astype(float) + 3,
    ),
    "out_of_distribution": Series(
        lambda rng, size: rng.normal(size=size), lambda rng, size: rng.normal(2, 1, size)
    ),
    "brightness": Series(
        lambda rng, size: rng.beta(6, 6, size), lambda rng, size: rng.beta(3, 12, size)
    ),
    "pixels": Series(
        lambda rng, size: rng.choice([1e5, 1e6, 12e6], size, p=[0.3, 0.3, 0.4]),
        lambda rng, size: np.full(size, 8e6),
        bet_on_sizes,
    ),
    "error_rate": Series(
        lambda rng, size: (rng.random(size) < 0.1).astype(float),
        lambda rng, size: np.ones(size),
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


@pytest.mark.parametrize(("images_per_day", "runs"), [(20, 200), (100, 200), (1000, 60)])
def test_false_alerts_of_a_model_on_stationary_traffic(images_per_day: int, runs: int) -> None:
    rng = np.random.default_rng(images_per_day)
    alerts = dict.fromkeys(SERIES, 0)
    for _ in range(runs):
        for name, series in SERIES.items():
            is_feedback = name == "error_rate"
            minimum = MIN_FEEDBACK if is_feedback else MIN_REFERENCE
            size = minimum + int(DAYS * images_per_day * (FEEDBACK if is_feedback else 1))
            days = np.sort(rng.uniform(0, DAYS * size / (size - minimum), size))
            alarms = _find(name, series.draw(rng, size), days, minimum)
            alerts[name] += _alerts(alarms, RECENT_FEEDBACK if is_feedback else RECENT)
    total = sum(alerts.values()) / runs
    print(
        f"\n{images_per_day} images a day, {runs} months: {total:.2f} false alerts a month,", alerts
    )
    assert total <= 1


@pytest.mark.parametrize("before", [1000, 2500, 10_000])
@pytest.mark.parametrize("name", list(SERIES))
def test_change_of_a_fifth_is_found_within_500_images(name: str, before: int) -> None:
    """Only one statistic changes. The error rate counts reviewed answers only."""
    rng = np.random.default_rng(before)
    runs, after = 100, 500
    minimum = MIN_FEEDBACK if name == "error_rate" else MIN_REFERENCE
    delays = []
    for _ in range(runs):
        values = SERIES[name].draw(rng, before + after)
        is_changed = rng.random(before + after) < SHARE
        is_changed[:before] = False
        values[is_changed] = SERIES[name].draw_other(rng, int(is_changed.sum()))
        days = np.sort(rng.uniform(0, (before + after) / 1000, before + after))
        alarms = [one - before for one in _find(name, values, days, minimum) if one >= before]
        delays.append(alarms[0] + 1 if alarms else np.inf)
    found = np.isfinite(delays).mean()
    median, late = np.quantile(delays, [0.5, 0.9], method="higher")
    print(f"\n{name} after {before}: found {found:.0%}, median {median:.0f}, 90% {late:.0f} images")
    assert found >= 0.9
