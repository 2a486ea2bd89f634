"""Tests of the retry limits and delays."""

import threading

import pytest

from client import BackendError, BackendUnreachable, ClientError, InvalidResponse
from client.retry import Retry, is_temporary

UNREACHABLE = BackendUnreachable("http://backend")


class FakeStop(threading.Event):
    """An event that records the timeouts of `wait` and returns at once."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.timeouts.append(timeout)
        return self.is_set()


@pytest.fixture
def stop() -> FakeStop:
    return FakeStop()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that `client.retry` reads; tests assign its only item."""
    clock = [0.0]
    monkeypatch.setattr("client.retry.monotonic", lambda: clock[0])
    return clock


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_overload_and_unavailability_are_temporary(status: int) -> None:
    assert is_temporary(BackendError(status=status))
    assert is_temporary(UNREACHABLE)


@pytest.mark.parametrize(
    "error", [BackendError(status=500), BackendError(status=415), InvalidResponse("not JSON")]
)
def test_other_errors_are_not_retried_unless_requested(error: ClientError, stop: FakeStop) -> None:
    assert not Retry(stop).wait(error)
    assert stop.timeouts == []
    retry = Retry(stop, statuses=frozenset({415, 500}), invalid_response=True)
    assert retry.wait(error)


def test_delay_doubles_up_to_the_maximum(stop: FakeStop) -> None:
    retry = Retry(stop, initial_delay=1, max_delay=5)
    assert all(retry.wait(UNREACHABLE) for _ in range(2000))
    assert stop.timeouts[:5] == [1, 2, 4, 5, 5]


def test_retry_after_replaces_the_delay(stop: FakeStop) -> None:
    waits: list[tuple[ClientError, float]] = []
    retry = Retry(stop, max_retry_after=60, on_wait=lambda *wait: waits.append(wait))
    errors = [BackendError(status=429, retry_after=seconds) for seconds in (7, 9000, 0)]
    assert all(retry.wait(error) for error in errors)
    assert stop.timeouts == [7, 60, 4]
    assert waits == list(zip(errors, stop.timeouts, strict=True))


def test_attempts_are_limited(stop: FakeStop) -> None:
    retry = Retry(stop, max_attempts=3)
    assert [retry.wait(UNREACHABLE) for _ in range(3)] == [True, True, False]


def test_time_is_limited_from_the_first_failure(stop: FakeStop, now: list[float]) -> None:
    now[0] = 1000.0
    retry = Retry(stop, max_seconds=30)
    assert retry.wait(UNREACHABLE)
    now[0] += 30
    assert retry.wait(UNREACHABLE)
    now[0] += 1
    assert not retry.wait(UNREACHABLE)


def test_progress_restarts_the_limits(stop: FakeStop, now: list[float]) -> None:
    retry = Retry(stop, max_seconds=30, max_attempts=3)
    assert retry.wait(UNREACHABLE)
    assert retry.wait(UNREACHABLE)
    now[0] += 60
    retry.reset()
    assert retry.wait(UNREACHABLE)
    assert stop.timeouts == [1, 2, 1]


def test_stop_ends_the_wait() -> None:
    stop = threading.Event()
    retry = Retry(stop, on_wait=lambda error, seconds: stop.set(), initial_delay=600)
    assert not retry.wait(UNREACHABLE)
