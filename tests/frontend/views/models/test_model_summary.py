"""What was measured of a model, in words."""

from dataclasses import replace

import pytest

from client import Calibration, InputSpec
from frontend.views.models import model_summary
from tests.frontend.answers import MODEL

CALIBRATION = Calibration(1.0, None, 1, "mnist", {0.9: 1.01, 0.95: 1.234, 0.99: 2})


def test_known_figures_are_named_and_unknown_ones_kept() -> None:
    measured = {
        "test_accuracy": 0.9963,
        "test_coverage_90": 0.9982,
        "test_set_size_90": 1.0076,
        "onnx_parity": 3.8147e-06,
        "my_score": 12.3456,
    }
    assert list(model_summary.rows(measured)) == [
        ("Right on its test set", "99.63 %"),
        ("Sets of 90 % that hold the right label", "99.82 %"),
        ("Labels in a set of 90 %, on average", "1.01"),
        ("Largest difference between its two runtimes", "3.815e-06"),
        ("my_score", "12.35"),
    ]


def test_an_accuracy_that_is_no_share_is_not_made_one() -> None:
    assert list(model_summary.rows({"test_accuracy": 99.6})) == [("test_accuracy", "99.6")]


def test_the_headline_has_what_is_known_and_nothing_else() -> None:
    model = replace(MODEL, metrics={"test_accuracy": 0.5}, calibration=CALIBRATION)
    assert list(model_summary.headline(model)) == [
        ("Accuracy", "50.00 %"),
        ("Labels in a set of 95 %", "1.23"),
    ]
    assert list(model_summary.headline(MODEL)) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (InputSpec("digit", (1, 28, 28)), "The digit found in the picture, as 1 x 28 x 28 numbers"),
        (InputSpec("image", (3, 224, 224)), "The picture, as 3 x 224 x 224 numbers"),
        (InputSpec("image", ()), "The picture"),
    ],
)
def test_what_a_model_takes_is_said(spec: InputSpec, said: str) -> None:
    assert model_summary.takes(spec) == said


def test_a_card_shows_no_picture_from_elsewhere_and_no_heading_above_the_pages_own() -> None:
    shown = model_summary.card(
        "# mine\n![x](http://elsewhere/x.png) \\![y][z]\n##### deep\n#no heading"
    )
    assert "![" not in shown
    assert shown.startswith("#### mine\n")
    assert "\n###### deep\n#no heading" in shown


def test_one_picture_is_one_picture() -> None:
    assert model_summary.calibrated(CALIBRATION) == (
        "Its percentages were calibrated on 1 picture: mnist."
    )
