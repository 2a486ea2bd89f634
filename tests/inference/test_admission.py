"""Admission: the estimated wait follows the measured pace, and clients leave places free."""

from contextlib import suppress

import pytest

from backend.inference.admission import Admission, WorkRejectedError

SIZE = 512  # places in the queue


def serve(admission: Admission, start: float, seconds: float, count: int) -> float:
    """Serve `count` images that arrive together, one every `seconds`; return the end time."""
    for _ in range(count):
        admission.enter(start)
    for i in range(count):
        admission.leave(start + (i + 1) * seconds, served=True)
    return start + count * seconds


def wait_behind(admission: Admission, now: float, ahead: int) -> float:
    """Return the estimated wait with `ahead` images in flight."""
    for _ in range(ahead):
        admission.enter(now)
    wait = admission.wait()
    for _ in range(ahead):
        admission.leave(now, served=False)
    return wait


def test_wait_is_zero_when_idle() -> None:
    assert Admission(SIZE, 0.5).wait() == 0


def test_initial_estimate_applies_until_an_image_is_served() -> None:
    assert wait_behind(Admission(SIZE, 0.5), 0, 4) == pytest.approx(2)


def test_wait_is_proportional_to_images_in_flight() -> None:
    admission = Admission(SIZE, 0.1)
    now = serve(admission, 0, 0.1, 100)
    assert [wait_behind(admission, now, ahead) for ahead in (1, 10, 200)] == pytest.approx(
        [0.1, 1, 20]
    )


def test_idle_time_does_not_count() -> None:
    admission = Admission(SIZE, 0.1)
    now = 0.0
    for _ in range(100):
        now = serve(admission, now, 0.1, 1) + 3600
    assert wait_behind(admission, now, 1) == pytest.approx(0.1)


@pytest.mark.parametrize(("before", "after"), [(0.001, 0.2), (0.2, 0.001)])
def test_estimate_follows_changes_of_service_time(before: float, after: float) -> None:
    admission = Admission(SIZE, before)
    now = serve(admission, 0, before, round(20 / before))
    assert wait_behind(admission, now, 1) == pytest.approx(before, rel=0.01)
    now = serve(admission, now, after, round(40 / after))
    assert wait_behind(admission, now, 1) == pytest.approx(after, rel=0.1)


def test_dropped_images_do_not_lower_the_estimate() -> None:
    admission = Admission(SIZE, 1.0)
    now = 0.0
    for _ in range(20):
        for _ in range(10):
            admission.enter(now)
        for _ in range(9):
            admission.leave(now + 0.5, served=False)
        now += 1
        admission.leave(now, served=True)
    assert admission.in_flight == 0
    assert wait_behind(admission, now, 3) == pytest.approx(3)


def test_images_of_a_batch_share_its_time() -> None:
    admission = Admission(SIZE, 1.0)
    now = 0.0
    for _ in range(50):
        for _ in range(8):
            admission.enter(now)
        now += 0.8
        for _ in range(8):
            admission.leave(now, served=True)
    assert wait_behind(admission, now, 10) == pytest.approx(1, rel=0.05)


def test_wait_counts_costs_not_images() -> None:
    admission = Admission(SIZE, 0.1)
    now = 0.0
    for cost in (0.01, 0.5) * 20:
        admission.enter(now, cost=cost)
        now += 2 * cost
        admission.leave(now, cost=cost, served=True)
    for cost in (0.01, 0.01, 0.5):
        admission.enter(now, cost=cost)
    assert admission.wait() == pytest.approx(2 * 0.52, rel=0.01)


def test_client_waits_only_for_its_share_of_the_work_of_others() -> None:
    admission = Admission(SIZE, 0.1)
    for _ in range(50):
        admission.enter(0.0, "busy", 1.0)
    assert admission.wait("busy", 0.1) == pytest.approx(50)
    assert admission.wait("new", 0.1) == pytest.approx(0.1)
    admission.enter(0.0, "new", 0.1)
    assert admission.wait("new", 0.1) == pytest.approx(0.3)


def test_one_stalled_image_does_not_raise_the_estimate_beyond_its_share() -> None:
    admission = Admission(SIZE, 0.05)
    now = serve(admission, 0, 0.05, 200)
    now = serve(admission, now, 2.0, 1)
    assert wait_behind(admission, now, 16) < 2


def test_work_that_would_take_too_long_is_rejected() -> None:
    admission = Admission(SIZE, 0.1)
    for _ in range(11):
        admission.enter(0.0, "busy", 0.4)
    with pytest.raises(WorkRejectedError) as rejected:
        admission.require(5.0, "busy", 0.4)
    assert rejected.value.reason == "too_slow"
    assert rejected.value.retry_after == pytest.approx(4.4)
    admission.require(5.0, "new", 0.4)
    admission.require(None, "busy", 0.4)


@pytest.mark.parametrize("clients", [1, 2, 8])
def test_clients_that_take_all_they_get_leave_places_for_another(clients: int) -> None:
    admission = Admission(SIZE, 1e-9)

    def fill() -> None:
        for client in range(clients):
            with suppress(WorkRejectedError):
                while True:
                    admission.require(None, client)
                    admission.enter(0.0, client)

    fill()
    for _ in range(SIZE):
        most = max(range(clients), key=admission.held)
        admission.leave(0.0, most, served=True)
        fill()
    assert admission.held(0) >= 3 * SIZE // (1 + 3 * clients)
    admission.require(None, "new")
    assert admission.in_flight < SIZE


def test_work_that_would_not_be_done_in_time_itself_is_rejected() -> None:
    admission = Admission(SIZE, 0.1)
    admission.enter(0.0, "other", 1.5)
    with pytest.raises(WorkRejectedError):
        admission.require(5.0, "new", 4.0)
    admission.require(5.0, "new", 3.0)
