"""Quantiles, spreads and ratios."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.stats import best, quantile, ratios, spread

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(numbers, st.floats(0, 1))
def test_a_quantile_is_what_numpy_makes_of_it(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


def test_of_nothing_there_is_no_quantile() -> None:
    assert math.isnan(quantile([], 0.5))
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0], 99)


def test_the_spread_of_the_rounds() -> None:
    found = spread([3.0, 1.0, 8.0])
    assert (found.low, found.median, found.high) == (1, 3, 8)


def test_ratios_are_made_round_by_round() -> None:
    # The second round was slow for everybody: a ratio of medians would not see that.
    assert ratios([20, 10, 30], [10, 5, 10]) == [2, 2, 3]
    assert ratios([1], [0]) == [math.inf]
    with pytest.raises(ValueError, match="zip"):
        ratios([1, 2], [1])


def test_the_best_peer_is_the_best_of_each_round() -> None:
    assert best([[1, 5, 2], [3, 4, 1]]) == [3, 5, 2]
