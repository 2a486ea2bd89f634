"""The summary of a comparison on a labeled dataset."""

import pytest

from evaluation.compare import Comparison, ModelRecords, compare
from evaluation.types import Record
from frontend.views.compare.report import summarize


def compare_predictions(a: str, b: str) -> Comparison:
    """Compare predictions for images of cats, one letter each: c is cat, d is dog."""
    names = {"c": "cat", "d": "dog"}
    first, second = (
        ModelRecords(
            model,
            ("cat", "dog", "owl"),
            [Record(f"{i}", "cat", prediction=names[letter]) for i, letter in enumerate(letters)],
        )
        for model, letters in (("A", a), ("B", b))
    )
    return compare(first, second)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("cd", "cd", "Both models are correct on the same images."),
        ("cc", "cd", "Only A is correct on 1 image, only B on 0 images. This does not show"),
        ("d" * 9, "c" * 9, "B is better on images like these"),
        ("d" * 9, "c" * 9, "in 0.4% of cases (McNemar's test, p = 0.0039)."),
        ("c" * 9, "d" * 9, "A is better on images like these"),
    ],
)
def test_summary_states_the_significance(a: str, b: str, expected: str) -> None:
    assert expected in summarize(compare_predictions(a, b))
