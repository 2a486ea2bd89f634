"""The saturation point is found, and the number of instances follows from it."""

import pytest

from benchmarks.load.report import format_report
from benchmarks.load.saturation import (
    Limits,
    SaturationSearch,
    Step,
    count_instances,
    requests_in_flight,
)


def make_step(users: int, rate: float, p95: float = 50.0, failures: float = 0.0) -> Step:
    return Step(users, rate, mean=40.0, p50=35.0, p95=p95, p99=90.0, failures=failures)


def search_with(*steps: Step, **options: float) -> SaturationSearch:
    search = SaturationSearch(Limits(p95=200, failures=0.01, growth=0.1), **options)  # type: ignore[arg-type]
    for step in steps:
        assert not search.is_finished
        search.add(step)
    return search


def test_saturation_is_last_step_that_increased_rate() -> None:
    search = search_with(
        make_step(1, 20), make_step(2, 40), make_step(4, 60), make_step(8, 65), make_step(16, 64)
    )
    assert search.is_finished
    assert search.is_saturated
    assert search.saturation == make_step(4, 60)


def test_single_slow_step_does_not_end_search() -> None:
    search = search_with(make_step(1, 20), make_step(2, 15), make_step(4, 60), make_step(8, 30))
    assert not search.is_finished
    assert search.saturation == make_step(4, 60)


def test_growth_is_relative_to_saturation_point() -> None:
    search = search_with(
        make_step(4, 60), make_step(8, 50), make_step(16, 60)
    )  # 20% more than 50, but not more than 60
    assert search.is_finished
    assert search.saturation == make_step(4, 60)


def test_small_increases_are_beyond_saturation() -> None:
    search = search_with(
        make_step(18, 285), make_step(27, 349), make_step(40, 364), make_step(60, 391)
    )
    assert search.is_finished
    assert search.saturation == make_step(27, 349)


def test_step_after_slow_step_must_increase_rate_by_two_shares() -> None:
    search = search_with(
        make_step(18, 285), make_step(27, 300), make_step(40, 349)
    )  # 285 x 1.1 x 1.1 = 345
    assert search.saturation == make_step(40, 349)


@pytest.mark.parametrize("violation", [{"p95": 201.0}, {"failures": 0.02}])
def test_slow_or_failing_steps_are_beyond_saturation(violation: dict[str, float]) -> None:
    search = search_with(
        make_step(1, 20), make_step(2, 40, **violation), make_step(4, 80, **violation)
    )
    assert search.is_finished
    assert search.saturation == make_step(1, 20)


def test_no_saturation_without_step_within_limits() -> None:
    search = search_with(make_step(1, 20, p95=900), make_step(2, 40, p95=900))
    assert search.is_finished
    assert search.saturation is None
    assert not search.is_saturated
    assert "No saturation point" in format_report(search, rate=100)


def test_unsaturated_service_is_reported() -> None:
    search = search_with(make_step(2, 20), make_step(4, 40), first_users=2, factor=2, max_users=4)
    assert search.is_finished
    assert not search.is_saturated
    assert "not reached; best step: 40.0 requests/s with 4 users" in format_report(search)


def test_users_grow_by_factor_and_at_least_by_one() -> None:
    search = SaturationSearch(first_users=1, factor=1.5, max_users=7)
    users = []
    while not search.is_finished:
        users.append(search.users)
        search.add(make_step(search.users, 100.0 * search.users))
    assert users == [1, 2, 3, 4, 6, 7]


def test_requests_in_flight_are_rate_times_latency() -> None:
    assert requests_in_flight(rate=250, latency=40) == 10
    assert make_step(8, rate=250).in_flight == 10


@pytest.mark.parametrize(
    ("rate", "headroom", "number"), [(1, 1, 1), (100, 1, 1), (101, 1, 2), (1000, 1.3, 13)]
)
def test_instances_are_rounded_up(rate: float, headroom: float, number: int) -> None:
    assert count_instances(rate, make_step(8, rate=100), headroom) == number


def test_instance_without_responses_raises_error() -> None:
    with pytest.raises(ValueError, match="never enough"):
        count_instances(10, make_step(1, rate=0), 1)


def test_report_lists_steps_saturation_and_instances() -> None:
    search = search_with(
        make_step(4, 100), make_step(8, 104), make_step(16, 90, p95=1900, failures=0.3)
    )
    text = format_report(search, rate=1000, headroom=1.3)
    four, eight, sixteen = text.splitlines()[1:4]
    assert four.endswith("saturation point")
    assert not eight.endswith("saturation point")
    assert sixteen.endswith("30.0% failed")
    assert "p50 35 ms, p95 50 ms, p99 90 ms" in text
    assert "13 instances like this one: ceil(1,000 / 100.0 x 1.3), with 40.0 requests" in text
