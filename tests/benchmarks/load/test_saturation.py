"""Where the knee of a service is, and how many instances that makes."""

import pytest

from benchmarks.load.report import told
from benchmarks.load.saturation import Ascent, Limits, Step, concurrency, instances


def step(users: int, rate: float, p95: float = 50.0, failures: float = 0.0) -> Step:
    return Step(users, rate, mean=40.0, p50=35.0, p95=p95, p99=90.0, failures=failures)


def climbed(*steps: Step, **options: float) -> Ascent:
    ascent = Ascent(Limits(p95=200, failures=0.01, growth=0.1), **options)  # type: ignore[arg-type]
    for one in steps:
        assert not ascent.is_over
        ascent.add(one)
    return ascent


def test_the_knee_is_the_last_step_that_raised_the_rate_by_its_share() -> None:
    ascent = climbed(step(1, 20), step(2, 40), step(4, 60), step(8, 65), step(16, 64))
    assert ascent.is_over
    assert ascent.is_reached
    assert ascent.knee == step(4, 60)


def test_one_bad_moment_does_not_end_the_ascent() -> None:
    ascent = climbed(step(1, 20), step(2, 15), step(4, 60), step(8, 30))
    assert not ascent.is_over
    assert ascent.knee == step(4, 60)


def test_growth_is_measured_by_the_knee_and_not_by_a_bad_moment() -> None:
    ascent = climbed(step(4, 60), step(8, 50), step(16, 60))  # up by a fifth, to where it was
    assert ascent.is_over
    assert ascent.knee == step(4, 60)


def test_many_users_that_each_help_a_little_are_beyond_the_knee() -> None:
    ascent = climbed(step(18, 285), step(27, 349), step(40, 364), step(60, 391))
    assert ascent.is_over
    assert ascent.knee == step(27, 349)


def test_a_step_after_a_bad_moment_is_the_knee_where_it_makes_up_for_it() -> None:
    ascent = climbed(step(18, 285), step(27, 300), step(40, 349))  # 285 x 1.1 x 1.1 = 345
    assert ascent.knee == step(40, 349)


@pytest.mark.parametrize("much", [{"p95": 201.0}, {"failures": 0.02}])
def test_what_is_too_slow_or_fails_too_often_is_beyond_the_knee(much: dict[str, float]) -> None:
    ascent = climbed(step(1, 20), step(2, 40, **much), step(4, 80, **much))
    assert ascent.is_over
    assert ascent.knee == step(1, 20)


def test_without_a_good_step_there_is_no_knee() -> None:
    ascent = climbed(step(1, 20, p95=900), step(2, 40, p95=900))
    assert ascent.is_over
    assert ascent.knee is None
    assert not ascent.is_reached
    assert "No knee" in told(ascent, rate=100)


def test_a_service_that_could_do_more_is_said_to() -> None:
    ascent = climbed(step(2, 20), step(4, 40), first=2, factor=2, most=4)
    assert ascent.is_over
    assert not ascent.is_reached
    assert "was not reached; so far: 40.0 requests/s with 4 users" in told(ascent)


def test_users_grow_by_the_factor_and_by_one_at_least() -> None:
    ascent = Ascent(first=1, factor=1.5, most=7)
    users = []
    while not ascent.is_over:
        users.append(ascent.users)
        ascent.add(step(ascent.users, 100.0 * ascent.users))
    assert users == [1, 2, 3, 4, 6, 7]


def test_requests_in_flight_are_rate_times_latency() -> None:
    assert concurrency(rate=250, latency=40) == 10
    assert step(8, rate=250).in_flight == 10


@pytest.mark.parametrize(
    ("rate", "headroom", "number"), [(1, 1, 1), (100, 1, 1), (101, 1, 2), (1000, 1.3, 13)]
)
def test_instances_are_rounded_up(rate: float, headroom: float, number: int) -> None:
    assert instances(rate, step(8, rate=100), headroom) == number


def test_what_answers_nothing_is_never_enough() -> None:
    with pytest.raises(ValueError, match="never enough"):
        instances(10, step(1, rate=0), 1)


def test_the_steps_the_knee_and_the_instances_are_told() -> None:
    ascent = climbed(step(4, 100), step(8, 104), step(16, 90, p95=1900, failures=0.3))
    text = told(ascent, rate=1000, headroom=1.3)
    four, eight, sixteen = text.splitlines()[1:4]
    assert four.endswith("the knee")
    assert not eight.endswith("the knee")
    assert sixteen.endswith("30.0 % failed")
    assert "p50 35 ms, p95 50 ms, p99 90 ms" in text
    assert "13 instances like this one: ceil(1,000 / 100.0 x 1.3); 40.0 requests" in text
