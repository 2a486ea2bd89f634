"""The metrics, input and model card of a model as text."""

from dataclasses import replace

import pytest

from client import Calibration, InputSpec
from frontend.views.models import model_summary
from tests.frontend.samples import MODEL

CALIBRATION = Calibration(1.0, None, 1, "mnist", {0.9: 1.01, 0.95: 1.234, 0.99: 2})


def test_metrics_have_a_name_and_unknown_ones_keep_theirs() -> None:
    metrics = {
        "test_accuracy": 0.9963,
        "test_coverage_90": 0.9982,
        "test_set_size_90": 1.0076,
        "onnx_parity": 3.8147e-06,
        "my_score": 12.3456,
    }
    assert list(model_summary.metric_rows(metrics)) == [
        ("Test accuracy", "99.63%"),
        ("Measured coverage of 90% prediction sets", "99.82%"),
        ("Mean size of 90% prediction sets", "1.01"),
        ("Largest difference between runtimes", "3.815e-06"),
        ("my_score", "12.35"),
    ]


def test_metrics_of_outliers_name_their_kind() -> None:
    metrics = {"nothing_auroc_text": 0.9987, "nothing_refused_text": 0.975}
    assert list(model_summary.metric_rows(metrics)) == [
        ("AUROC of test images against text", "0.999"),
        ("Text classified as out of distribution", "97.50%"),
    ]


def test_accuracy_outside_0_to_1_is_shown_unchanged() -> None:
    assert list(model_summary.metric_rows({"test_accuracy": 99.6})) == [("test_accuracy", "99.6")]


def test_key_metrics_omit_unknown_ones() -> None:
    model = replace(MODEL, metrics={"test_accuracy": 0.5}, calibration=CALIBRATION)
    assert list(model_summary.key_metrics(model)) == [
        ("Accuracy", "50.00%"),
        ("Labels at 95% coverage", "1.23"),
    ]
    assert list(model_summary.key_metrics(MODEL)) == []


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (InputSpec("digit", (1, 28, 28)), "Input: the digit found in the image (1 × 28 × 28)"),
        (InputSpec("image", (3, 224, 224)), "Input: the image (3 × 224 × 224)"),
        (InputSpec("image", ()), "Input: the image"),
    ],
)
def test_input_text_has_the_content_and_shape(spec: InputSpec, text: str) -> None:
    assert model_summary.input_text(spec) == text


def test_card_has_no_external_images_and_lower_headings() -> None:
    markdown = model_summary.card_markdown(
        "# mine\n![x](http://elsewhere/x.png) \\![y][z]\n##### deep\n#no heading"
    )
    assert "![" not in markdown
    assert markdown.startswith("#### mine\n")
    assert "\n###### deep\n#no heading" in markdown


def test_calibration_text_is_singular_for_one_image() -> None:
    assert model_summary.calibration_text(CALIBRATION) == ("Calibrated on 1 image: mnist.")


@pytest.mark.parametrize(
    ("runtime", "precision", "text"),
    [
        ("onnx", "int8", "Runtime: onnx (int8)"),
        ("onnx", "fp32", "Runtime: onnx"),
        ("torch", None, "Runtime: torch"),
        (None, None, None),
    ],
)
def test_runtime_text_names_a_reduced_precision(
    runtime: str | None, precision: str | None, text: str | None
) -> None:
    model = replace(MODEL, runtime=runtime, precision=precision)
    assert model_summary.runtime_text(model) == text
