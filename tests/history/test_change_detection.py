"""The test finds a change of a fifth of the images, and does not raise false alarms."""

import numpy as np
import pytest

from backend.history.change_detection import _BLOCK as BLOCK
from backend.history.change_detection import _STAKES as STAKES
from backend.history.change_detection import _STANDARD_ERRORS as STANDARD_ERRORS
from backend.history.change_detection import (
    Bet,
    Numbers,
    bet_on_errors,
    bet_on_frequent,
    bet_on_labels,
    bet_on_tails,
    combine,
    find_changes,
)
from backend.history.drift import THRESHOLD

MINIMUM = 500
SHARE = 0.2  # of the images that change
RUNS = 20


def confidences(rng: np.random.Generator, size: int) -> Numbers:
    """Return confidences of which most are close to 1."""
    return np.where(rng.random(size) < 0.7, 1 - rng.beta(0.5, 30, size), rng.uniform(0.1, 1, size))


def low_confidences(rng: np.random.Generator, size: int) -> Numbers:
    return rng.uniform(0.1, 0.5, size)


def labels(rng: np.random.Generator, size: int) -> Numbers:
    return rng.integers(0, 10, size).astype(float)


def one_label(_: np.random.Generator, size: int) -> Numbers:
    return np.full(size, 3.0)


def mistakes(rng: np.random.Generator, size: int) -> Numbers:
    return (rng.random(size) < 0.1).astype(float)


def only_mistakes(_: np.random.Generator, size: int) -> Numbers:
    return np.ones(size)


def tail_bet(_: Numbers) -> Bet:
    return bet_on_tails


def label_bet(reference: Numbers) -> Bet:
    return combine(bet_on_labels(reference, 0.02), bet_on_frequent)


def error_bet(_: Numbers) -> Bet:
    return bet_on_errors(0.05)


SERIES = [
    pytest.param(confidences, low_confidences, tail_bet, id="confidence"),
    pytest.param(labels, one_label, label_bet, id="labels"),
    pytest.param(mistakes, only_mistakes, error_bet, id="errors"),
]


@pytest.mark.parametrize(("draw", "draw_changed", "make_bet"), SERIES)
def test_change_of_a_fifth_is_found_within_500_images(draw, draw_changed, make_bet) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    before, after = 2000, 500
    found = 0
    for _ in range(RUNS):
        values = draw(rng, before + after)
        is_changed = rng.random(before + after) < SHARE
        is_changed[:before] = False
        values[is_changed] = draw_changed(rng, is_changed.sum())
        days = np.linspace(0, 2.5, before + after)
        result = find_changes(
            values, days, make_bet(values[:MINIMUM]), minimum=MINIMUM, threshold=THRESHOLD
        )
        found += any(alarm >= before - MINIMUM for alarm in result.alarms)
    assert found >= RUNS - 1


@pytest.mark.parametrize(("draw", "draw_changed", "make_bet"), SERIES)
def test_stationary_images_raise_few_alarms(draw, draw_changed, make_bet) -> None:  # type: ignore[no-untyped-def]
    """The threshold allows one alarm of each of seven statistics in seven months."""
    rng = np.random.default_rng(2)
    size = MINIMUM + 3000
    alarms = 0
    for _ in range(RUNS):
        values = draw(rng, size)
        result = find_changes(
            values,
            np.linspace(0, 30, size),
            make_bet(values[:MINIMUM]),
            minimum=MINIMUM,
            threshold=THRESHOLD,
        )
        alarms += len(result.alarms)
    assert alarms <= RUNS / 7 + 2


def test_slow_change_is_found_after_the_reference_is_complete() -> None:
    rng = np.random.default_rng(3)
    size = 12_000
    values = rng.normal(size=size) + np.linspace(0, 1, size)
    result = find_changes(
        values, np.linspace(0, 30, size), bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD
    )
    assert result.alarms
    assert result.reference_size <= 2000


def test_evidence_falls_after_the_change_ends() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=4000)
    values[2000:2300] += 3
    result = find_changes(
        values, np.linspace(0, 4, 4000), bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD
    )
    assert any(1500 <= alarm < 1800 for alarm in result.alarms)
    assert result.log10[-500:].max() < THRESHOLD


def test_reference_does_not_grow_during_an_alert() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=5000)
    values[800:] += 2
    result = find_changes(
        values, np.linspace(0, 5, 5000), bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD
    )
    assert result.reference_size == MINIMUM
    assert result.log10[-500:].max() >= THRESHOLD


def test_same_values_are_no_evidence() -> None:
    values = np.ones(2000)
    result = find_changes(
        values, np.linspace(0, 9, 2000), bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD
    )
    assert not result.alarms


def test_too_few_values_give_no_evidence() -> None:
    values = np.ones(MINIMUM)
    result = find_changes(
        values, np.linspace(0, 9, MINIMUM), bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD
    )
    assert len(result.log10) == 0
    assert result.reference_size == MINIMUM


def test_steps_of_the_calculation_do_not_change_the_evidence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a frozen reference the evidence is that of the recursion M = (M + start) * gain."""
    rng = np.random.default_rng(6)
    values, days = rng.normal(size=403), np.sort(rng.uniform(0, 9, 403))
    monkeypatch.setattr("backend.history.change_detection.MAX_REFERENCE", 100)
    result = find_changes(values, days, bet_on_tails, minimum=100, threshold=99)
    none, reference = values[:0], values[:100]
    tails = bet_on_tails(np.sort(reference), none, reference)
    batches = tails.reshape(10, 10, -1).mean(axis=1).std(axis=0, ddof=1) / np.sqrt(10)
    bounds = 1 + STANDARD_ERRORS * np.maximum(tails.std(axis=0) / 10, batches)
    excess = bet_on_tails(np.sort(reference), none, values[100:]) / bounds - 1
    weights = np.diff(days)[99:] + 1 / (500 + np.arange(303))
    capital, expected = np.zeros((len(STAKES), excess.shape[1])), []
    for start in range(0, 303, BLOCK):
        gain = 1 + np.outer(np.divide(STAKES, BLOCK), excess[start : start + BLOCK].sum(axis=0))
        capital = (capital + weights[start : start + BLOCK].sum()) * gain
        expected += BLOCK * [np.log10(capital.mean())]
    np.testing.assert_allclose(result.log10, expected[:303], rtol=1e-9)


def test_images_within_seconds_are_tested_as_well() -> None:
    rng = np.random.default_rng(7)
    values = confidences(rng, 1500)
    is_changed = (rng.random(1500) < SHARE) & (np.arange(1500) >= 1000)
    values[is_changed] = low_confidences(rng, is_changed.sum())
    days = np.linspace(0, 1e-4, 1500)
    assert find_changes(values, days, bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD).alarms


def test_long_pause_is_no_evidence() -> None:
    values = np.random.default_rng(8).normal(size=1000)
    days = np.linspace(0, 10, 1000) + 1000 * (np.arange(1000) >= 900)
    result = find_changes(values, days, bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD)
    assert not result.alarms


def test_several_images_of_each_person_raise_few_alarms() -> None:
    """All images of a person, three on average, have nearly the same value."""
    rng = np.random.default_rng(9)
    size, alarms = MINIMUM + 3000, 0
    for _ in range(RUNS):
        person = np.repeat(np.arange(size), rng.geometric(1 / 3, size))[:size]
        values = rng.normal(size=size)[person] + rng.normal(0, 0.1, size)
        days = np.linspace(0, 30, size)
        found = find_changes(values, days, bet_on_tails, minimum=MINIMUM, threshold=THRESHOLD)
        alarms += len(found.alarms)
    assert alarms <= RUNS / 7 + 2


def test_new_label_among_rare_ones_is_found() -> None:
    """It is not in the reference, and all other labels are so rare that no bet is on one alone."""
    rng = np.random.default_rng(10)
    values = rng.integers(0, 200, 1500).astype(float)
    is_changed = (rng.random(1500) < SHARE) & (np.arange(1500) >= 1000)
    values[is_changed] = 999
    days = np.linspace(0, 1, 1500)
    found = find_changes(values, days, bet_on_frequent, minimum=MINIMUM, threshold=THRESHOLD)
    assert any(alarm >= 1000 - MINIMUM for alarm in found.alarms)
