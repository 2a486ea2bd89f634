"""The order of many results."""

import pytest

from client import BackendError
from frontend.service.predictions import ImageFile, Outcome
from frontend.views.classify import ordering
from frontend.views.classify.results_table import Result
from tests.frontend.samples import make_classification

NAMES = ["img10.png", "IMG2.png", "img1.png", "a", "10", "9", "img2b.png"]
OUTCOMES: dict[str, Outcome] = {
    "sure": make_classification(("label 10", 0.99)),
    "unsure": make_classification(("label 9", 0.4)),
    "rejected": make_classification(("label 1", 0.999), in_distribution=False),
    "failed": BackendError(status=415),
}


def make_results(outcomes: dict[str, Outcome]) -> list[Result]:
    return [Result(ImageFile(name, b""), outcome) for name, outcome in outcomes.items()]


def test_numbers_in_names_are_sorted_by_value() -> None:
    expected = ["9", "10", "a", "img1.png", "IMG2.png", "img2b.png", "img10.png"]
    assert sorted(NAMES, key=ordering.natural_key) == expected


@pytest.mark.parametrize("names", [["1", "01"], ["²1", "1"], ["", "1"], ["9" * 5000, "8"]])
def test_any_names_can_be_compared(names: list[str]) -> None:
    assert sorted(sorted(names, key=ordering.natural_key)) == sorted(names)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("Name", ["failed", "rejected", "sure", "unsure"]),
        ("Lowest confidence", ["unsure", "sure", "failed", "rejected"]),
        ("Highest confidence", ["sure", "unsure", "failed", "rejected"]),
        ("Label", ["unsure", "sure", "failed", "rejected"]),
        ("Problems first", ["failed", "rejected", "unsure", "sure"]),
    ],
)
def test_results_are_sorted(order: str, names: list[str]) -> None:
    assert [one.image.name for one in ordering.sort(make_results(OUTCOMES), order)] == names
