"""IDs of requests and classifications."""

import time
from itertools import count

import pytest
from ulid import ULID

from backend.api import ids


def test_id_is_a_ulid_of_the_current_time() -> None:
    before = time.time_ns() // 1_000_000
    parsed = ULID.from_str(ids.new_id())
    assert before <= parsed.milliseconds <= time.time_ns() // 1_000_000 + 1


def test_ids_of_one_millisecond_increase(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr("backend.api.ids.time.time_ns", lambda: now)
    generated = [ids.new_id() for _ in range(1_000)]
    assert generated == sorted(set(generated))


def test_id_increases_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.new_id()
    monkeypatch.setattr("backend.api.ids.time.time_ns", lambda: 0)
    assert ids.new_id() > first


def test_ids_of_different_milliseconds_have_random_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = count(time.time_ns() + 10**9, 10**6)
    monkeypatch.setattr("backend.api.ids.time.time_ns", lambda: next(times))
    monkeypatch.setattr("backend.api.ids._last", 0)
    assert len({ids.new_id()[10:] for _ in range(100)}) == 100
