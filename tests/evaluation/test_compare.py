"""Tests of the comparison of two models."""

import pytest

from evaluation.compare import ModelRecords, compare, mcnemar
from evaluation.errors import ReportError
from evaluation.types import Record

LABELS = ("cat", "dog")


def model_records(
    name: str, *predictions: str | None, labels: tuple[str, ...] = LABELS
) -> ModelRecords:
    """Return records of at most ten images; those with even numbers are cats."""
    records = [
        Record(f"{at}.png", LABELS[at % 2], prediction, error=None if prediction else "damaged")
        for at, prediction in enumerate(predictions)
    ]
    return ModelRecords(name, labels, records)


def test_images_that_only_one_model_classifies_correctly() -> None:
    a = model_records("a", "cat", "dog", "dog", "cat", "cat")
    b = model_records("b", "cat", "cat", "cat", "cat", "cat")
    comparison = compare(a, b, thumbnail=lambda name: f"thumbnail of {name}")
    assert (comparison.only_a, comparison.only_b) == (("1.png",), ("2.png",))
    assert (comparison.both_right, comparison.both_wrong, comparison.image_count) == (2, 1, 5)
    assert comparison.agreement == pytest.approx(3 / 5)
    assert (comparison.accuracy_a, comparison.accuracy_b) == (0.6, 0.6)
    assert comparison.difference.tolist() == [[1, -1], [1, -1]]
    (example,) = comparison.examples_a
    assert (example.label, example.a, example.b, example.thumbnail) == (
        "dog",
        "dog",
        "cat",
        "thumbnail of 1.png",
    )


def test_images_without_both_predictions_are_left_out() -> None:
    comparison = compare(
        model_records("a", "cat", None, "cat"), model_records("b", "cat", "dog", None, "dog")
    )
    assert comparison.image_count == 1
    assert comparison.left_out == 3


def test_models_with_different_labels_are_compared_over_all_labels() -> None:
    comparison = compare(
        model_records("a", "cat"), model_records("b", "owl", labels=("owl", "cat"))
    )
    assert comparison.labels == ("cat", "dog", "owl")
    assert comparison.difference[0].tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (0, 10, 2 / 1024), (9, 1, 22 / 1024)],
)
def test_mcnemar_p_value_is_exact(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)


def test_different_labels_of_an_image_raise_report_error() -> None:
    other = ModelRecords("b", LABELS, [Record("0.png", "dog", "dog")])
    with pytest.raises(ReportError, match=r"0\.png has different labels, 'cat' and 'dog'"):
        compare(model_records("a", "cat"), other)


def test_no_common_image_raises_report_error() -> None:
    with pytest.raises(ReportError, match="no image in common"):
        compare(
            model_records("a", "cat"), ModelRecords("b", LABELS, [Record("x.png", "cat", "cat")])
        )
