"""What a new picture has to wait is told from how fast the others leave."""

import pytest

from backend.inference.admission import WaitEstimator


def steady(pace: WaitEstimator, start: float, each: float, count: int) -> float:
    """`count` pictures that come together, one leaving every `each` seconds; the time after."""
    for _ in range(count):
        pace.enter(start)
    for i in range(count):
        pace.leave(start + (i + 1) * each, served=True)
    return start + count * each


def wait_behind(pace: WaitEstimator, now: float, ahead: int) -> float:
    """The wait that is told where `ahead` pictures are inside."""
    for _ in range(ahead):
        pace.enter(now)
    found = pace.wait
    for _ in range(ahead):
        pace.leave(now, served=False)
    return found


def test_nobody_inside_is_no_wait() -> None:
    assert WaitEstimator(0.5).wait == 0


def test_the_first_guess_holds_until_something_was_served() -> None:
    assert wait_behind(WaitEstimator(0.5), 0, 4) == pytest.approx(2)


def test_the_wait_grows_with_what_is_inside() -> None:
    pace = WaitEstimator(0.1)
    now = steady(pace, 0, 0.1, 100)
    assert [wait_behind(pace, now, ahead) for ahead in (1, 10, 200)] == pytest.approx([0.1, 1, 20])


def test_idle_time_does_not_count() -> None:
    pace = WaitEstimator(0.1)
    now = 0.0
    for _ in range(100):
        now = steady(pace, now, 0.1, 1) + 3600
    assert wait_behind(pace, now, 1) == pytest.approx(0.1)


@pytest.mark.parametrize(("before", "after"), [(0.001, 0.2), (0.2, 0.001)])
def test_it_follows_work_that_becomes_slower_or_faster(before: float, after: float) -> None:
    pace = WaitEstimator(before)
    now = steady(pace, 0, before, round(20 / before))
    assert wait_behind(pace, now, 1) == pytest.approx(before, rel=0.01)
    now = steady(pace, now, after, round(40 / after))
    assert wait_behind(pace, now, 1) == pytest.approx(after, rel=0.1)


def test_pictures_that_were_given_up_make_it_no_faster() -> None:
    pace = WaitEstimator(1.0)
    now = 0.0
    for _ in range(20):
        for _ in range(10):
            pace.enter(now)
        for _ in range(9):
            pace.leave(now + 0.5, served=False)
        now += 1
        pace.leave(now, served=True)
    assert pace.inside == 0
    assert wait_behind(pace, now, 3) == pytest.approx(3)


def test_pictures_that_leave_together_as_a_batch_share_its_time() -> None:
    pace = WaitEstimator(1.0)
    now = 0.0
    for _ in range(50):
        for _ in range(8):
            pace.enter(now)
        now += 0.8
        for _ in range(8):
            pace.leave(now, served=True)
    assert wait_behind(pace, now, 10) == pytest.approx(1, rel=0.05)
