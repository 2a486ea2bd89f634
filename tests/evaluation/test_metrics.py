"""Figures that can be worked out by hand."""

import numpy as np
import pytest

from evaluation.metrics import measure, reliability, roc_curves

AB = ("a", "b")


def two(*first: float) -> np.typing.NDArray[np.float32]:
    """Probabilities of two classes, of which the first are given."""
    return np.array([[p, 1 - p] for p in first], np.float32)


def test_four_pictures_are_counted_as_by_hand() -> None:
    found = measure(AB, two(0.9, 0.8, 0.7, 0.1), np.array([0, 0, 1, 1]))
    assert found.accuracy == 0.75
    assert found.confusion.tolist() == [[2, 0], [1, 1]]
    a, b = found.classes
    assert a.precision == pytest.approx(2 / 3)
    assert (a.recall, a.support) == (1.0, 2)
    assert (b.precision, b.recall, b.support) == (1.0, 0.5, 2)
    assert found.macro.recall == 0.75
    assert found.weighted.precision == pytest.approx(5 / 6)
    assert found.macro_auc == 1.0
    assert found.top5 is None


def test_a_class_that_is_absent_or_never_predicted_has_no_such_figure() -> None:
    eye = np.eye(3, dtype=np.float32)
    found = measure(("a", "b", "c"), eye[[0, 0, 2]], np.array([0, 1, 0]))
    by_label = {one.label: one for one in found.classes}
    assert by_label["b"].precision is None
    assert by_label["c"].recall is None
    assert by_label["c"].precision == 0
    # The means are over the classes that the data has: a and b.
    assert found.macro.recall == pytest.approx((0.5 + 0) / 2)
    assert found.without_curve == ("c",)
    assert {curve.label for curve in found.curves} == {"a", "b"}


def test_data_of_one_class_has_no_curves() -> None:
    found = measure(AB, two(0.9, 0.2), np.array([0, 0]))
    assert found.curves == ()
    assert found.macro_auc is None
    assert found.without_curve == AB


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    truth = np.array([0, 1, 0, 1])
    curve, _ = roc_curves(AB, two(0.9, 0.8, 0.7, 0.1), truth)
    assert curve.auc == 0.75  # of the pairs only (0.7, 0.8) is in the wrong order
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


def test_long_curves_are_thinned_and_keep_their_area() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 5_000)
    noisy = np.clip(0.5 - 0.2 * truth + rng.normal(0, 0.3, 5_000), 0, 1)
    curve, _ = roc_curves(AB, two(*noisy), truth)
    assert len(curve.fpr) == 200
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(curve.auc, abs=1e-3)


def test_the_calibration_error_is_the_mean_distance_by_pictures() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55], np.float32)
    correct = np.array([True, True, True, False, True])
    found = reliability(confidence, correct)
    assert found.count.tolist() == [1, 4]
    assert found.accuracy.tolist() == [1, 0.75]
    assert found.ece == pytest.approx((1 * 0.45 + 4 * 0.20) / 5, abs=1e-6)


def test_fifteen_bins_of_equal_width_hold_every_confidence() -> None:
    confidence = np.linspace(0, 1, 3_001).astype(np.float32)
    found = reliability(confidence, np.ones(3_001, bool))
    assert len(found.count) == 15
    assert found.count.sum() == 3_001
    assert set(found.count.tolist()) <= {200, 201}


def test_a_probability_that_rounding_has_led_past_one_is_no_error() -> None:
    assert reliability(np.array([1.0000001], np.float32), np.array([True])).ece == 0


def test_the_first_five_are_counted_over_many_pictures() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(8), 9_000).astype(np.float32)
    truth = rng.integers(0, 8, 9_000)
    found = measure([str(label) for label in range(8)], probabilities, truth)
    first = np.argsort(-probabilities, axis=1)[:, :5]
    assert found.top5 == pytest.approx((first == truth[:, None]).any(1).mean())


@pytest.mark.parametrize("truth", [[], [0], [0, 1, 1]])
def test_shapes_that_do_not_fit_are_refused(truth: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        measure(AB, two(0.9, 0.1), np.array(truth, int))
