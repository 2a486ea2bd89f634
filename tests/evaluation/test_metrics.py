"""Tests of metrics against values computed by hand."""

import numpy as np
import pytest

from evaluation.metrics import measure, reliability, restrict_confusion_matrix, roc_curves

AB = ("a", "b")


def binary(*first: float) -> np.typing.NDArray[np.float32]:
    """Return probabilities of two classes, given those of the first class."""
    return np.array([[p, 1 - p] for p in first], np.float32)


def test_metrics_of_four_images() -> None:
    metrics = measure(AB, binary(0.9, 0.8, 0.7, 0.1), np.array([0, 0, 1, 1]))
    assert metrics.accuracy == 0.75
    assert metrics.confusion.tolist() == [[2, 0], [1, 1]]
    a, b = metrics.classes
    assert a.precision == pytest.approx(2 / 3)
    assert (a.recall, a.support) == (1.0, 2)
    assert (b.precision, b.recall, b.support) == (1.0, 0.5, 2)
    assert metrics.macro.recall == 0.75
    assert metrics.weighted.precision == pytest.approx(5 / 6)
    assert metrics.macro_auc == 1.0
    assert metrics.top5 is None


def test_undefined_precision_and_recall_are_none() -> None:
    eye = np.eye(3, dtype=np.float32)
    metrics = measure(("a", "b", "c"), eye[[0, 0, 2]], np.array([0, 1, 0]))
    by_label = {one.label: one for one in metrics.classes}
    assert by_label["b"].precision is None
    assert by_label["c"].recall is None
    assert by_label["c"].precision == 0
    # Averages are over the classes in the data: a and b.
    assert metrics.macro.recall == pytest.approx((0.5 + 0) / 2)
    assert metrics.without_curve == ("c",)
    assert {curve.label for curve in metrics.curves} == {"a", "b"}


def test_single_class_has_no_curves() -> None:
    metrics = measure(AB, binary(0.9, 0.2), np.array([0, 0]))
    assert metrics.curves == ()
    assert metrics.macro_auc is None
    assert metrics.without_curve == AB


def test_auc_is_the_share_of_correctly_ordered_pairs() -> None:
    truth = np.array([0, 1, 0, 1])
    curve, _ = roc_curves(AB, binary(0.9, 0.8, 0.7, 0.1), truth)
    assert curve.auc == 0.75  # only the pair (0.7, 0.8) is in the wrong order
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


def test_long_curves_are_reduced_and_keep_their_area() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 5_000)
    noisy = np.clip(0.5 - 0.2 * truth + rng.normal(0, 0.3, 5_000), 0, 1)
    curve, _ = roc_curves(AB, binary(*noisy), truth)
    assert len(curve.fpr) == 200
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(curve.auc, abs=1e-3)


def test_calibration_error_is_weighted_by_images() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55], np.float32)
    correct = np.array([True, True, True, False, True])
    result = reliability(confidence, correct)
    assert result.count.tolist() == [1, 4]
    assert result.accuracy.tolist() == [1, 0.75]
    assert result.ece == pytest.approx((1 * 0.45 + 4 * 0.20) / 5, abs=1e-6)


def test_fifteen_bins_contain_every_confidence() -> None:
    confidence = np.linspace(0, 1, 3_001).astype(np.float32)
    result = reliability(confidence, np.ones(3_001, bool))
    assert len(result.count) == 15
    assert result.count.sum() == 3_001
    assert set(result.count.tolist()) <= {200, 201}


def test_probability_above_1_after_rounding_is_accepted() -> None:
    assert reliability(np.array([1.0000001], np.float32), np.array([True])).ece == 0


def test_lines_join_adjacent_bins_with_at_least_ten_images() -> None:
    # Confidences of the bins 0, 1, 2, 3, 5 and 6: 2 has too few images, 4 has none.
    confidence = np.repeat(np.array([0, 1, 2, 3, 5, 6]) / 15 + 0.03, [10, 12, 9, 10, 11, 10])
    result = reliability(confidence.astype(np.float32), np.ones(len(confidence), bool))
    first, second, sparse, third, fourth, fifth = result.segments
    assert sparse is None
    assert first == second
    assert fourth == fifth
    assert len({first, third, fourth}) == 3


def test_intervals_contain_accuracy_and_recall() -> None:
    metrics = measure(AB, binary(0.9, 0.8, 0.7, 0.1), np.array([0, 0, 1, 1]))
    assert metrics.accuracy_interval.low < 0.75 < metrics.accuracy_interval.high
    a, b = metrics.classes
    assert a.recall_interval is not None
    assert (a.recall_interval.low, a.recall_interval.high) == pytest.approx((0.342, 1), abs=1e-3)
    assert b.recall_interval is not None
    assert b.recall_interval.low < 0.5 < b.recall_interval.high
    absent = measure(AB, binary(0.9), np.array([0])).classes[1]
    assert absent.recall_interval is None


def test_top5_accuracy_of_many_images() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(8), 9_000).astype(np.float32)
    truth = rng.integers(0, 8, 9_000)
    metrics = measure([str(label) for label in range(8)], probabilities, truth)
    top5 = np.argsort(-probabilities, axis=1)[:, :5]
    assert metrics.top5 == pytest.approx((top5 == truth[:, None]).any(1).mean())


@pytest.mark.parametrize("truth", [[], [0], [0, 1, 1]])
def test_mismatched_shapes_raise_value_error(truth: list[int]) -> None:
    with pytest.raises(ValueError, match="do not match"):
        measure(AB, binary(0.9, 0.1), np.array(truth, int))


def test_confusion_matrix_omits_classes_that_do_not_occur() -> None:
    matrix = np.array([[3, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]])
    kept, labels = restrict_confusion_matrix(matrix, ("a", "b", "c", "d"))
    assert labels == ("a", "c", "d")
    assert kept.tolist() == [[3, 1, 0], [0, 0, 0], [0, 0, 2]]


def test_confusion_matrix_keeps_the_most_confused_classes_in_order() -> None:
    matrix = np.diag([9, 8, 7, 6])
    matrix[3, 1] = 2
    kept, labels = restrict_confusion_matrix(matrix, ("a", "b", "c", "d"), 2)
    assert labels == ("b", "d")
    assert kept.tolist() == [[8, 0], [2, 6]]


def test_confusion_matrix_counts_negative_changes() -> None:
    _, labels = restrict_confusion_matrix(
        np.array([[-1, 1, 0], [0, 0, 0], [0, 0, 0]]), ("a", "b", "c")
    )
    assert labels == ("a", "b")


def test_confusion_matrix_without_values_is_empty() -> None:
    kept, labels = restrict_confusion_matrix(np.zeros((3, 3), np.intp), ("a", "b", "c"))
    assert kept.shape == (0, 0)
    assert labels == ()
