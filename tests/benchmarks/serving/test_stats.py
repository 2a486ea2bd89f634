"""Tests of the measured responses, quantiles, spreads and ratios."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.stats import (
    Response,
    RunRecord,
    best_per_round,
    quantile,
    ratios,
    spread,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(numbers, st.floats(0, 1))
def test_quantile_matches_numpy(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


def test_quantile_of_invalid_input() -> None:
    assert math.isnan(quantile([], 0.5))
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0], 99)


def test_spread_is_minimum_median_and_maximum() -> None:
    rounds = spread([3.0, 1.0, 8.0])
    assert (rounds.low, rounds.median, rounds.high) == (1, 3, 8)


def test_ratios_are_computed_per_round() -> None:
    # The second round was slow for both systems: a ratio of medians would not show it.
    assert ratios([20, 10, 30], [10, 5, 10]) == [2, 2, 3]
    assert ratios([1], [0]) == [math.inf]
    with pytest.raises(ValueError, match="zip"):
        ratios([1, 2], [1])


def test_best_per_round_is_the_maximum_of_each_round() -> None:
    assert best_per_round([[1, 5, 2], [3, 4, 1]]) == [3, 5, 2]


def run_record(*times: float, start: float = 0.0, end: float = 10.0) -> RunRecord:
    return RunRecord(start, end, [Response(at, 0.1, 200) for at in times])


def test_responses_outside_the_measured_time_do_not_count() -> None:
    record = run_record(1, 2, 3, 4, start=1.5, end=3.5)
    assert [response.at for response in record.measured()] == [2, 3]


@pytest.mark.parametrize("start", [1.5, 2.5, 3.9])
def test_rate_of_batched_responses_does_not_depend_on_the_start(start: float) -> None:
    bursts = [second + share for second in range(20) for share in (0.0, 0.001, 0.002, 0.003)]
    record = run_record(*bursts, start=start, end=start + 5)
    assert len(record.measured()) / record.span == pytest.approx(4)


def test_span_without_responses_is_the_measured_time() -> None:
    assert run_record(start=1, end=3).span == 2
    assert run_record(0.5, start=1, end=3).measured() == []
