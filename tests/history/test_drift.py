"""Drift of stored classifications, on both databases."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from backend.history.drift import (
    MAX_IMAGES,
    MAX_REFERENCE,
    MIN_FEEDBACK,
    Drift,
    Observation,
    Statistic,
    find_drift,
    wilson,
)
from backend.history.monitor import read_drift
from backend.history.record import HistoryFilters, HistoryRecord, make_feedback
from backend.history.store import Store
from tests.history.records import NOON, make_record

INTERVAL = timedelta(minutes=2)
FAKE = HistoryFilters(model="fake")


def records(count: int, start: int = 0, *, changed: float = 0.0) -> list[HistoryRecord]:
    """Return records from number `start` on, a share `changed` of which is of another kind."""
    rng = np.random.default_rng(start + 1)
    found = []
    for number in range(start, start + count):
        is_changed = rng.random() < changed
        found.append(
            make_record(
                NOON + number * INTERVAL,
                prediction="3" if is_changed else str(rng.integers(10)),
                confidence=float(rng.uniform(0.2, 0.5) if is_changed else rng.beta(9, 1)),
                prediction_set=["3", "1", "7", "8"] if is_changed else ["3"],
                in_distribution=not is_changed,
                ood_score=float(rng.normal(4 if is_changed else 0)),
                size=(4000, 3000) if is_changed else (640, 480),
                brightness=float(rng.beta(2, 20) if is_changed else rng.beta(6, 6)),
            )
        )
    return found


def observe(store: Store, model: str, version: str, limit: int) -> list[Observation]:
    return store.observations(HistoryFilters(model), version, limit)


def statistic(drift: Drift, name: str) -> Statistic:
    return next(one for one in drift.statistics if one.name == name)


def test_change_of_a_fifth_is_found_in_all_statistics(store: Store) -> None:
    store.add(records(1000))
    before = read_drift(store, FAKE, "1")
    assert not before.alert
    store.add(records(500, 1000, changed=0.2))
    after = read_drift(store, FAKE, "1")
    assert after.alert
    found = {one.name for one in after.statistics if one.alert}
    assert found == {
        "labels", "confidence", "set_size", "out_of_distribution", "brightness", "pixels"
    }  # fmt: skip
    confidence = statistic(after, "confidence")
    assert confidence.value is not None
    assert confidence.reference is not None
    assert confidence.value < confidence.reference
    assert confidence.since is not None
    assert NOON + 1000 * INTERVAL <= confidence.since <= NOON + 1500 * INTERVAL
    assert statistic(after, "out_of_distribution").value == pytest.approx(0.2, abs=0.06)
    assert after.labels[0].label == "3"
    assert after.labels[0].value > after.labels[0].reference


def test_alert_ends_after_enough_unchanged_images(store: Store) -> None:
    store.add(records(1000))
    store.add(records(300, 1000, changed=0.3))
    assert read_drift(store, FAKE, "1").alert
    store.add(records(700, 1300))
    assert not read_drift(store, FAKE, "1").alert


def test_reference_is_kept_when_only_the_newest_images_are_read(store: Store) -> None:
    store.add(records(600))
    store.add(records(600, 600, changed=0.2))
    observed = observe(store, "fake", "1", 300)
    assert len(observed) == len({one.id for one in observed}) == 1200
    assert [one.id for one in observed] == sorted(one.id for one in observed)
    assert find_drift(observed, []).alert


def test_versions_are_apart_and_later_images_are_left_out(store: Store) -> None:
    store.add(records(3))
    store.add([make_record(NOON + timedelta(days=1), model={"name": "fake", "version": "2"})])
    store.add([make_record(NOON + timedelta(days=2), model={"name": "other", "version": "9"})])
    assert store.newest_version("fake") == "2"
    assert store.newest_version("unknown") is None
    assert len(observe(store, "fake", "1", 10)) == 3
    assert len(observe(store, "fake", "2", 10)) == 1
    assert len(store.observations(HistoryFilters("fake", until=NOON + INTERVAL), "1", 10)) == 1


def test_feedback_that_contradicts_more_answers_is_an_alert(store: Store) -> None:
    count = 3 * MIN_FEEDBACK
    stored = records(count)
    store.add(stored)
    for number, one in enumerate(stored):
        is_wrong = number % 10 == 0 or (number >= MIN_FEEDBACK and number % 3 == 0)
        store.set_feedback(one["id"], make_feedback("x" if is_wrong else one["prediction"]))
    drift = read_drift(store, FAKE, "1")
    errors = statistic(drift, "error_rate")
    assert errors.alert
    assert errors.images == count
    assert errors.reference == pytest.approx(0.1)
    assert errors.value == pytest.approx(0.4, abs=0.05)


def test_days_are_those_of_the_time_zone(store: Store) -> None:
    late = NOON.replace(hour=23)
    stored = [
        make_record(late + timedelta(seconds=number), confidence=confidence, size=(100, 50))
        for number, confidence in enumerate((0.5, 0.7))
    ]
    store.add([*stored, make_record(late - timedelta(hours=3), confidence=0.9)])
    store.set_feedback(stored[0]["id"], make_feedback("7"))
    store.set_feedback(stored[1]["id"], make_feedback("1"))
    assert [day.day for day in store.days(FAKE, "1", 0.95, UTC)] == ["2026-05-04"]
    newest, oldest = store.days(FAKE, "1", 0.95, ZoneInfo("Europe/Berlin"))
    assert (newest.day, newest.images, oldest.images) == ("2026-05-05", 2, 1)
    assert newest.confidence == pytest.approx(0.6)
    assert newest.set_size == 2
    assert newest.pixels == 5000
    assert newest.brightness is None
    assert newest.labels == {"7": 2}
    assert (newest.confirmed, newest.corrected, newest.accuracy) == (1, 1, 0.5)
    assert newest.accuracy_low is not None
    assert newest.accuracy_high is not None
    assert newest.accuracy_low < 0.5 < newest.accuracy_high


def test_days_are_limited_by_the_filters(store: Store) -> None:
    store.add([make_record(NOON + timedelta(days=number)) for number in range(4)])
    start = NOON + timedelta(days=1)
    filters = HistoryFilters("fake", since=start, until=start + timedelta(days=2))
    assert [day.day for day in store.days(filters, "1", 0.95, UTC)] == ["2026-05-06", "2026-05-05"]
    hour = timedelta(hours=1)
    assert store.days(HistoryFilters("fake", since=start + hour), "1", 0.95, UTC)[-1].images == 1
    assert store.days(HistoryFilters("other"), "1", 0.95, UTC) == []


def test_days_count_labels_of_all_predictions(store: Store) -> None:
    labels = ["3", "1", "3", "2"]
    store.add([make_record(NOON + n * INTERVAL, prediction=one) for n, one in enumerate(labels)])
    (day,) = store.days(FAKE, "1", 0.95, UTC)
    assert list(day.labels.items()) == [("3", 2), ("1", 1), ("2", 1)]
    assert day.images == 4


def test_means_of_many_images_are_those_of_a_sample(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.history.store.MAX_DAY_IMAGES", 100)
    stored = [
        make_record(
            NOON + timedelta(seconds=n), prediction="38"[n % 2], confidence=0.5 + 0.3 * (n % 2)
        )
        for n in range(1000)
    ]
    store.add(stored)
    store.set_feedback(stored[0]["id"], make_feedback("3"))
    (day,) = store.days(FAKE, "1", 0.95, UTC)
    assert (day.images, day.confirmed, day.corrected) == (1000, 1, 0)
    assert day.confidence == pytest.approx(0.65, abs=0.08)
    assert sum(day.labels.values()) == pytest.approx(1000, abs=1)
    assert day.labels["3"] == pytest.approx(500, abs=250)


def test_rare_feedback_is_compared_although_it_is_old(store: Store) -> None:
    """Of each answer the newest images do not contain, the feedback still counts."""
    reviewed = records(MIN_FEEDBACK)
    store.add(reviewed)
    for one in reviewed:
        store.set_feedback(one["id"], make_feedback(one["prediction"]))
    store.add(records(MAX_IMAGES + MAX_REFERENCE, MIN_FEEDBACK))
    assert statistic(read_drift(store, FAKE, "1"), "error_rate").images == MIN_FEEDBACK


def test_unknown_values_are_left_out(store: Store) -> None:
    unknown = {"prediction_set": None, "coverage": None, "in_distribution": None, "ood_score": None}
    store.add([make_record(NOON + number * INTERVAL, **unknown) for number in range(3)])
    observed = observe(store, "fake", "1", 10)
    drift = find_drift(observed, [])
    assert drift.coverage is None
    for name in ("set_size", "out_of_distribution", "brightness", "pixels", "error_rate"):
        assert statistic(drift, name).images == 0
    (day,) = store.days(FAKE, "1", None, UTC)
    assert (day.set_size, day.out_of_distribution, day.pixels, day.accuracy) == (None,) * 4


def test_prediction_sets_of_another_coverage_are_not_compared(store: Store) -> None:
    store.add(records(4))
    store.add([make_record(NOON + timedelta(days=1), coverage=0.99, prediction_set=["1"] * 9)])
    observed = observe(store, "fake", "1", 10)
    drift = find_drift(observed, [])
    assert drift.coverage == 0.95
    assert statistic(drift, "set_size").images == 4
    assert store.days(FAKE, "1", 0.95, UTC)[0].set_size is None


def test_oversized_headers_are_not_stored(store: Store) -> None:
    assert store.add([make_record(size=(2**32 - 1, 5))]) == set()
    assert observe(store, "fake", "1", 1)[-1].pixels is None


def test_large_images_do_not_overflow(store: Store) -> None:
    assert store.add([make_record(size=(2**31 - 1, 2**31 - 1))]) == set()
    assert observe(store, "fake", "1", 1)[-1].pixels == (2**31 - 1) ** 2


def test_wilson_interval_is_that_of_a_published_example() -> None:
    """Newcombe 1998, table I: 81 of 263."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
