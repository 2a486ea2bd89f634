"""Two models on the same pictures."""

import pytest

from evaluation.compare import Measured, compare, mcnemar
from evaluation.errors import ReportError
from evaluation.types import Record

LABELS = ("cat", "dog")


def measured(name: str, *predictions: str | None, labels: tuple[str, ...] = LABELS) -> Measured:
    """Ten pictures at most, of which the even ones are cats."""
    records = [
        Record(f"{at}.png", LABELS[at % 2], prediction, error=None if prediction else "damaged")
        for at, prediction in enumerate(predictions)
    ]
    return Measured(name, labels, records)


def test_who_alone_is_right_is_found_picture_by_picture() -> None:
    a = measured("a", "cat", "dog", "dog", "cat", "cat")
    b = measured("b", "cat", "cat", "cat", "cat", "cat")
    found = compare(a, b, thumbnail=lambda name: f"small {name}")
    assert (found.only_a, found.only_b) == (("1.png",), ("2.png",))
    assert (found.both_right, found.both_wrong, found.pictures) == (2, 1, 5)
    assert found.agreement == pytest.approx(3 / 5)
    assert (found.accuracy_a, found.accuracy_b) == (0.6, 0.6)
    assert found.difference.tolist() == [[1, -1], [1, -1]]
    (pair,) = found.shown_a
    assert (pair.label, pair.a, pair.b, pair.thumbnail) == ("dog", "dog", "cat", "small 1.png")


def test_pictures_that_only_one_answered_are_left_out_and_counted() -> None:
    found = compare(measured("a", "cat", None, "cat"), measured("b", "cat", "dog", None, "dog"))
    assert found.pictures == 1
    assert found.left_out == 3


def test_models_of_other_classes_are_compared_over_all_of_them() -> None:
    found = compare(measured("a", "cat"), measured("b", "owl", labels=("owl", "cat")))
    assert found.labels == ("cat", "dog", "owl")
    assert found.difference[0].tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (0, 10, 2 / 1024), (9, 1, 22 / 1024)],
)
def test_mcnemar_is_exact(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)


def test_other_labels_of_the_same_picture_are_refused() -> None:
    other = Measured("b", LABELS, [Record("0.png", "dog", "dog")])
    with pytest.raises(ReportError, match=r"0\.png has the label 'cat' in one and 'dog'"):
        compare(measured("a", "cat"), other)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ReportError, match="no picture in common"):
        compare(measured("a", "cat"), Measured("b", LABELS, [Record("x.png", "cat", "cat")]))
