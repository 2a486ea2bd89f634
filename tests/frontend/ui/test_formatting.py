"""Text formatting."""

from typing import Any

import pytest

from frontend.ui import formatting
from tests.frontend.samples import make_classification


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (1.0, "100%"),
        (0.99996, ">99.9%"),
        (0.998, "99.8%"),
        (0.62, "62%"),
        (0.004, "0.4%"),
        (0.0001, "<0.1%"),
        (0.0, "0%"),
    ],
)
def test_only_certainty_reads_100_percent(probability: float, text: str) -> None:
    assert formatting.percent(probability) == text


def test_high_confidence_headline_names_one_label() -> None:
    result = make_classification(("7", 0.998), ("1", 0.002))
    assert formatting.headline(result, "digit") == "7, 99.8% confidence"


def test_medium_confidence_headline_names_an_alternative() -> None:
    result = make_classification(("7", 0.62), ("1", 0.3), ("2", 0.08))
    assert formatting.headline(result, "digit") == "Probably 7 (62%), possibly 1 (30%)"


def test_low_confidence_headline_lists_the_alternatives() -> None:
    result = make_classification(("7", 0.41), ("1", 0.38), ("2", 0.12), ("3", 0.06))
    assert formatting.headline(result, "digit") == "Uncertain: 7 (41%), 1 (38%) or 2 (12%)"


@pytest.mark.parametrize(
    ("kind", "headline", "text"),
    [
        ("digit", "Not a digit", "This image does not show one of the model's classes."),
        ("image", "This image does not show one of the model's classes", None),
    ],
)
def test_out_of_distribution_image_has_no_prediction(
    kind: str, headline: str, text: str | None
) -> None:
    prediction_set: dict[str, Any] = {"prediction_set": ("8",), "coverage": 0.95}
    result = make_classification(("8", 0.99), in_distribution=False, **prediction_set)
    assert formatting.headline(result, kind) == headline
    assert formatting.supporting_text(result, kind) == text


@pytest.mark.parametrize(
    ("confidence", "level"), [(0.95, "very high"), (0.8, "high"), (0.5, "medium"), (0.49, "low")]
)
def test_confidence_level_is_a_word(confidence: float, level: str) -> None:
    scores = ("7", confidence)
    assert formatting.confidence_level(make_classification(scores)) == level
    outlier = make_classification(scores, in_distribution=False)
    assert formatting.confidence_level(outlier) is None


def test_labels_other_than_digits_are_quoted() -> None:
    result = make_classification(("tabby cat", 0.8))
    assert formatting.headline(result, "image") == "“tabby cat”, 80% confidence"


@pytest.mark.parametrize(
    ("kind", "labels", "coverage", "text"),
    [
        ("digit", ("7",), 0.95, "7 (95% coverage)"),
        ("image", ("tabby cat",), 0.99, "“tabby cat” (99% coverage)"),
        ("digit", ("7", "1"), 0.95, "7 or 1 (95% coverage)"),
        ("digit", ("1", "7", "2"), 0.99, "1, 7 or 2 (99% coverage)"),
        ("image", ("cat", "dog"), 0.9, "“cat” or “dog” (90% coverage)"),
    ],
)
def test_prediction_set_is_listed_with_its_coverage(
    kind: str, labels: tuple[str, ...], coverage: float, text: str
) -> None:
    result = make_classification((labels[0], 0.6), prediction_set=labels, coverage=coverage)
    assert formatting.supporting_text(result, kind) == text


def test_long_prediction_set_is_shortened() -> None:
    labels = tuple(map(str, range(100, 150)))
    result = make_classification(("100", 0.1), prediction_set=labels, coverage=0.99)
    text = formatting.supporting_text(result, "image")
    assert text is not None
    assert text.endswith("“104” or one of 45 more (99% coverage)")


def test_uncalibrated_model_has_no_supporting_text() -> None:
    assert formatting.supporting_text(make_classification(("7", 0.6)), "digit") is None


@pytest.mark.parametrize(("error", "points"), [(0.002, "0.2"), (0.0, "0.1"), (0.12, "12.0")])
def test_calibration_error_is_shown_in_points(error: float, points: str) -> None:
    text = formatting.calibration_text(error)
    assert text == f"Confidence matches accuracy within {points} points (test set)."


def test_timings_are_in_milliseconds() -> None:
    text = formatting.timings(make_classification(("7", 1.0)).timings)
    assert text == "Decoding 2.1 ms, queue 0.4 ms, inference 18 ms"


def test_untrusted_text_is_not_markdown() -> None:
    escaped = formatting.escape("[x](y) <b>\n# $a$")
    assert escaped == r"\[x\]\(y\) \<b\> \# \$a\$"


@pytest.mark.parametrize(
    "text",
    [
        ":material_home:",
        ":streamlit:",
        ":red[x]",
        "a -> b",
        "a <- b",
        "a -- b",
        "http://x.org",
        "www.example.com",
        "me@example.com",
    ],
)
def test_streamlit_syntax_is_separated_by_joiners(text: str) -> None:
    shown = formatting.escape(text)
    assert formatting.JOINER in shown
    assert shown.replace(formatting.JOINER, "").replace("\\", "") == text


@pytest.mark.parametrize("text", ["19:53:07", "a: b", "x-ray.png", "7 (98%)"])
def test_ordinary_text_has_no_joiners(text: str) -> None:
    assert formatting.JOINER not in formatting.escape(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a.png", "a.png"), ("IMG_20240712_1035.jpg", "IMG_2…5.jpg"), ("abcdefghijkl", "abcde…hijkl")],
)
def test_middle_of_a_long_text_is_cut_out(text: str, shown: str) -> None:
    assert formatting.shorten(text, 11) == shown


def test_url_in_trusted_text_has_no_joiners() -> None:
    assert formatting.escape_copyable("http://x.org *a*") == r"http\:\/\/x\.org \*a\*"
