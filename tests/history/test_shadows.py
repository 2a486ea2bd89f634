"""Classifications by shadows: stored, deleted with their images, and compared."""

from datetime import timedelta
from typing import Any

import pytest

from backend.history.record import HistoryFilters, make_feedback
from backend.history.shadows import ShadowCounts, ShadowRecord, ShadowSample, compare, mcnemar
from backend.history.store import Store
from evaluation.compare import mcnemar as evaluation_mcnemar
from evaluation.intervals import wilson
from tests.history.records import NOON, make_record

HOUR = timedelta(hours=1)
SINCE = NOON - HOUR
NO_IMAGES = ShadowCounts(0, 0, 0, 0, 0, 0)


def add(store: Store, shadow: str | None, *, fits: bool | None = True, **fields: Any) -> str:
    """Store a classification of version 1 and one of its shadow, version 2; return the ID."""
    record = make_record(**fields)
    store.add([record])
    if shadow is not None:
        store.add_shadows([shadow_record(record["id"], shadow, in_distribution=fits)])
    return record["id"]


def shadow_record(id: str, prediction: str = "7", **fields: Any) -> ShadowRecord:  # noqa: A002
    record = {
        "id": id,
        "version": "2",
        "prediction": prediction,
        "confidence": 0.5,
        "in_distribution": True,
        "milliseconds": 4.0,
    }
    return record | fields  # type: ignore[return-value]


def counts(store: Store, version: str = "2", active: str = "1") -> ShadowCounts:
    return store.compare_shadow("fake", active, version, SINCE).counts


def test_answers_are_compared(store: Store) -> None:
    add(store, "7")
    add(store, "1")
    add(store, None)
    comparison = store.compare_shadow("fake", "1", "2", SINCE)
    assert comparison.counts == ShadowCounts(2, 1, 0, 0, 0, 0)
    assert comparison.agreement == 0.5
    expected = wilson(1, 2)
    assert comparison.interval == pytest.approx((expected.low, expected.high))
    # Decoding and inference of the record, without the queue.
    assert comparison.medians == ShadowSample(0.75, 0.5, 3.5, 4.0)
    assert comparison.p_value == 1


def test_rejected_images_agree_if_both_versions_reject_them(store: Store) -> None:
    for active in (False, True, None):
        for shadow in (False, True, None):
            prediction = "1" if active is False and shadow is False else "7"
            add(store, prediction, fits=shadow, in_distribution=active)
    # Both reject 1 of 9; 4 of 9 are accepted by both and have the same label.
    assert counts(store) == ShadowCounts(9, 5, 0, 0, 0, 0)


def test_feedback_tells_which_version_is_right(store: Store) -> None:
    outcomes = {"7": ["7", "1", "1", "7"], "1": ["1", "1", "1"], "2": ["0", "7"]}
    for correction, predictions in outcomes.items():
        for prediction in predictions:  # of the shadow; version 1 always answers 7
            store.set_feedback(add(store, prediction), make_feedback(correction))
    add(store, "1")  # without feedback
    comparison = store.compare_shadow("fake", "1", "2", SINCE)
    assert comparison.counts == ShadowCounts(10, 3, 2, 2, 3, 2)
    assert comparison.p_value == pytest.approx(evaluation_mcnemar(2, 3))


def test_rejection_is_right_if_no_label_of_the_model_is(store: Store) -> None:
    for feedback in (make_feedback(none_of_these=True), make_feedback("cat", "animals")):
        store.set_feedback(add(store, "7", fits=False), feedback)
    rejected = add(store, "7", in_distribution=False)
    store.set_feedback(rejected, make_feedback("7"))
    assert counts(store) == ShadowCounts(3, 0, 0, 0, 3, 0)


def test_only_images_of_both_versions_since_the_start_are_compared(store: Store) -> None:
    add(store, "7")
    add(store, "7", time=SINCE - timedelta(seconds=1))
    add(store, "7", model={"name": "fake", "version": "3"})
    add(store, "7", model={"name": "other", "version": "1"})
    assert counts(store).images == 1
    assert counts(store, active="3").images == 1
    assert counts(store, version="4") == NO_IMAGES


def test_comparison_without_images_is_empty(store: Store) -> None:
    comparison = store.compare_shadow("fake", "1", "2", SINCE)
    assert comparison.counts == NO_IMAGES
    assert (comparison.agreement, comparison.interval, comparison.medians) == (None, None, None)
    assert comparison.p_value == 1


def test_classification_by_a_shadow_is_deleted_with_its_image(store: Store) -> None:
    first, _ = add(store, "7"), add(store, "7")
    store.delete(first)
    assert counts(store).images == 1
    while store.delete_some(HistoryFilters(until=NOON + HOUR)):
        pass
    assert counts(store).images == 0


def test_classification_whose_image_is_deleted_does_not_stop_others(store: Store) -> None:
    gone, kept = add(store, None), add(store, None)
    store.delete(gone)
    store.add_shadows([shadow_record(gone), shadow_record(kept), shadow_record(kept)])
    assert counts(store).images == 1


def test_newest_images_are_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.history.store._MAX_SHADOW_IMAGES", 2)
    monkeypatch.setattr("backend.history.store._MAX_SHADOW_SAMPLES", 1)
    for number, confidence in enumerate((0.1, 0.2, 0.9)):
        add(store, "7" if number else "1", time=NOON + number * HOUR, confidence=confidence)
    comparison = store.compare_shadow("fake", "1", "2", SINCE)
    assert comparison.counts == ShadowCounts(2, 2, 0, 0, 0, 0)
    assert comparison.medians is not None
    assert comparison.medians.active_confidence == 0.9


def test_medians_are_those_of_the_images() -> None:
    samples = [
        ShadowSample(*row) for row in ((0.1, 0.9, 5, 9), (0.5, 0.7, 6, 8), (0.4, 0.1, 40, 1))
    ]
    assert compare(NO_IMAGES, samples).medians == ShadowSample(0.4, 0.7, 6, 8)


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (0, 5), (3, 3), (2, 3), (4, 16), (950, 1100), (0, 3000)]
)
def test_mcnemar_is_that_of_scipy(only_a: int, only_b: int) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(evaluation_mcnemar(only_a, only_b), rel=1e-9)
