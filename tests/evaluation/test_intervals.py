"""Tests of confidence intervals against published and simulated values."""

import numpy as np
import pytest

from evaluation.intervals import paired_difference, wilson


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)
def test_wilson_interval_matches_published_examples(
    successes: int, total: int, low: float, high: float
) -> None:
    # Newcombe 1998, Statistics in Medicine 17, p. 857, table I, method 3.
    interval = wilson(successes, total)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_paired_difference_contains_the_true_difference_in_95_percent_of_samples() -> None:
    rng = np.random.default_rng(0)
    # The shares of images: only A correct, only B correct, others.
    counts = rng.multinomial(200, (0.05, 0.1, 0.85), size=2_000)
    intervals = [paired_difference(only_a, only_b, 200) for only_a, only_b, _ in counts]
    covered = np.mean([one.low <= 0.05 <= one.high for one in intervals])
    assert 0.94 <= covered <= 0.97


def test_paired_difference_is_positive_if_b_is_better() -> None:
    interval = paired_difference(0, 40, 100)
    assert 0.2 < interval.low < 0.4 < interval.high < 0.6
    mirrored = paired_difference(40, 0, 100)
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))


def test_difference_of_equal_predictions_has_an_interval_around_zero() -> None:
    interval = paired_difference(0, 0, 50)
    assert interval.low == -interval.high < 0


def test_paired_difference_stays_within_minus_one_and_one() -> None:
    assert paired_difference(0, 1, 1).high <= 1
    assert paired_difference(1, 0, 1).low >= -1


def test_no_images_raise_value_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        paired_difference(0, 0, 0)
    with pytest.raises(ValueError):  # noqa: PT011  # scipy's text
        wilson(0, 0)
