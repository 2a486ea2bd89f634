"""WaitEstimator: the wait follows the measured service time."""

import pytest

from backend.inference.admission import WaitEstimator


def serve(estimator: WaitEstimator, start: float, seconds: float, count: int) -> float:
    """Serve `count` images that arrive together, one every `seconds`; return the end time."""
    for _ in range(count):
        estimator.enter(start)
    for i in range(count):
        estimator.leave(start + (i + 1) * seconds, served=True)
    return start + count * seconds


def wait_behind(estimator: WaitEstimator, now: float, ahead: int) -> float:
    """Return the estimated wait with `ahead` images in flight."""
    for _ in range(ahead):
        estimator.enter(now)
    wait = estimator.wait
    for _ in range(ahead):
        estimator.leave(now, served=False)
    return wait


def test_wait_is_zero_when_idle() -> None:
    assert WaitEstimator(0.5).wait == 0


def test_initial_estimate_applies_until_an_image_is_served() -> None:
    assert wait_behind(WaitEstimator(0.5), 0, 4) == pytest.approx(2)


def test_wait_is_proportional_to_images_in_flight() -> None:
    estimator = WaitEstimator(0.1)
    now = serve(estimator, 0, 0.1, 100)
    assert [wait_behind(estimator, now, ahead) for ahead in (1, 10, 200)] == pytest.approx(
        [0.1, 1, 20]
    )


def test_idle_time_does_not_count() -> None:
    estimator = WaitEstimator(0.1)
    now = 0.0
    for _ in range(100):
        now = serve(estimator, now, 0.1, 1) + 3600
    assert wait_behind(estimator, now, 1) == pytest.approx(0.1)


@pytest.mark.parametrize(("before", "after"), [(0.001, 0.2), (0.2, 0.001)])
def test_estimate_follows_changes_of_service_time(before: float, after: float) -> None:
    estimator = WaitEstimator(before)
    now = serve(estimator, 0, before, round(20 / before))
    assert wait_behind(estimator, now, 1) == pytest.approx(before, rel=0.01)
    now = serve(estimator, now, after, round(40 / after))
    assert wait_behind(estimator, now, 1) == pytest.approx(after, rel=0.1)


def test_dropped_images_do_not_lower_the_estimate() -> None:
    estimator = WaitEstimator(1.0)
    now = 0.0
    for _ in range(20):
        for _ in range(10):
            estimator.enter(now)
        for _ in range(9):
            estimator.leave(now + 0.5, served=False)
        now += 1
        estimator.leave(now, served=True)
    assert estimator.in_flight == 0
    assert wait_behind(estimator, now, 3) == pytest.approx(3)


def test_images_of_a_batch_share_its_time() -> None:
    estimator = WaitEstimator(1.0)
    now = 0.0
    for _ in range(50):
        for _ in range(8):
            estimator.enter(now)
        now += 0.8
        for _ in range(8):
            estimator.leave(now, served=True)
    assert wait_behind(estimator, now, 10) == pytest.approx(1, rel=0.05)
