"""The comparison of two classifications of one image."""

import pytest

from client import Classification
from frontend.views.compare.side_by_side import (
    describe_largest_difference,
    probabilities_by_label,
    summarize,
    top_probabilities,
)
from tests.frontend.datasets.test_evaluation_job import PETS
from tests.frontend.samples import MODEL, make_classification


def test_probabilities_of_all_labels_are_preferred_to_the_top() -> None:
    result = make_classification(("cat", 0.7), probabilities=(0.7, 0.2, 0.1))
    assert probabilities_by_label(PETS, result) == {"cat": 0.7, "dog": 0.2, "owl": 0.1}
    assert probabilities_by_label(PETS, make_classification(("cat", 0.7))) == {"cat": 0.7}


def test_improbable_labels_are_omitted() -> None:
    rows = top_probabilities({"7": 0.9, "1": 0.0001, "2": 0.05}, {"7": 0.2, "9": 0.8}, 8)
    assert rows == [("7", 0.9, 0.2), ("9", 0.0, 0.8), ("2", 0.05, 0.0)]


def test_largest_difference_is_described() -> None:
    rows = [("7", 0.9, 0.2), ("9", 0.0, 0.8)]
    text = describe_largest_difference(rows)
    assert text == "Largest difference: 9, 0% for A and 80% for B (80.0 points higher)."
    equal = describe_largest_difference([("7", 0.5, 0.5)])
    assert equal == "The probabilities are equal within 0.1 points."


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (make_classification(("7", 0.9)), make_classification(("7", 0.6)), "The models agree: 7."),
        (
            make_classification(("7", 0.9)),
            make_classification(("8", 0.6)),
            "The models disagree: A predicts 7 (90%), B predicts 8 (60%).",
        ),
        (
            make_classification(("7", 0.9)),
            make_classification(("7", 0.6), in_distribution=False),
            "The models disagree: A predicts 7 (90%), B predicts none of its classes.",
        ),
        (
            make_classification(("7", 0.9), in_distribution=False),
            make_classification(("8", 0.6), in_distribution=False),
            "The models agree: the image shows none of their classes.",
        ),
    ],
)
def test_summary_states_agreement(a: Classification, b: Classification, expected: str) -> None:
    assert summarize((MODEL, MODEL), a, b) == expected
