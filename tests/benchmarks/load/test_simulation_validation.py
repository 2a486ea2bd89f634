import math
from dataclasses import astuple

import pytest

from benchmarks.load.simulation_validation import (
    Comparison,
    Figures,
    Response,
    deviations,
    figures_of,
    find_lone_requests,
)


def comparison(measured: Figures, simulated: Figures) -> Comparison:
    return Comparison(measured, simulated, delayed=0.0)


def response(sent: float, end: float, status: int = 200, number: int = 0) -> Response:
    return Response(number, sent, sent, end, status, service=0.1, inference=0.1)


def test_deviation_is_that_of_the_medians() -> None:
    rounds = [
        comparison(Figures(10, 50, 100, 0.5), Figures(10, 55, 100, 0.5)),
        comparison(Figures(20, 50, 100, 0.5), Figures(21, 55, 90, 0.6)),
        comparison(Figures(90, 50, 100, 0.5), Figures(10**3, 55, 80, 0.7)),
    ]
    assert astuple(deviations(rounds)) == pytest.approx((0.05, 0.1, 0.1, 0.2))


def test_small_share_of_refused_requests_deviates_in_percentage_points() -> None:
    rounds = [comparison(Figures(10, 50, 100, 0.01), Figures(10, 50, 100, 0.015))]
    assert deviations(rounds).refused == pytest.approx(0.05)


def test_run_in_which_nothing_was_served_deviates() -> None:
    figures = Figures(10, 50, 100, 0)
    nothing = Figures(0, math.nan, math.nan, 1)
    assert deviations([comparison(nothing, figures)]).p50 == math.inf
    assert deviations([comparison(figures, nothing)]).p50 == math.inf


def test_run_with_many_delayed_requests_is_not_valid() -> None:
    late = Response(0, due=1.0, sent=1.2, end=1.3, status=200, service=0.1, inference=0.1)
    slow = Response(0, due=1.0, sent=1.0, end=1.3, status=200, service=0.1, inference=0.3)
    refused = Response(0, due=1.0, sent=1.0, end=1.1, status=429, service=0.1, inference=math.nan)
    assert [each.is_delayed(0.05) for each in (late, slow, refused)] == [True, True, False]
    figures = Figures(1, 1, 1, 0)
    assert Comparison(figures, figures, delayed=0.01).is_valid
    assert not Comparison(figures, figures, delayed=0.06).is_valid


def test_lone_requests_are_those_that_did_not_wait() -> None:
    responses = [
        response(0, 1),
        response(0.5, 2),
        response(0.6, 1.5, number=1),
        response(1.5, 3),
        response(4, 5),
        response(6, 7, status=429),
    ]
    assert [each.sent for each in find_lone_requests(responses)] == [0, 0.6, 4]


def test_requests_of_the_warm_up_and_unfinished_ones_are_not_counted() -> None:
    responses = [response(1, 2), response(4, 6), response(7, 8), response(8, 8, 429)]
    figures = figures_of([*responses, response(14, 16)], warm_up=5, seconds=10)
    assert astuple(figures) == pytest.approx((0.2, 1000, 1000, 0.5))
