"""Answers in words."""

from typing import Any

import pytest

from frontend.ui import formatting
from tests.frontend.answers import answer


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (1.0, "100 %"),
        (0.99996, "> 99.9 %"),
        (0.998, "99.8 %"),
        (0.62, "62 %"),
        (0.004, "0.4 %"),
        (0.0001, "< 0.1 %"),
        (0.0, "0 %"),
    ],
)
def test_only_what_is_certain_reads_100_percent(probability: float, shown: str) -> None:
    assert formatting.percent(probability) == shown


def test_a_sure_answer_is_said_plainly() -> None:
    assert formatting.answer(answer(("7", 0.998), ("1", 0.002)), "digit") == "This is a 7 (99.8 %)."
    assert formatting.answer(answer(("8", 0.97)), "digit") == "This is an 8 (97 %)."


def test_an_unsure_answer_names_the_other_one() -> None:
    said = formatting.answer(answer(("7", 0.62), ("1", 0.3), ("2", 0.08)), "digit")
    assert said == "Probably a 7 (62 %), maybe a 1 (30 %)."


def test_a_guess_is_called_one() -> None:
    said = formatting.answer(answer(("7", 0.41), ("1", 0.38), ("2", 0.12), ("3", 0.06)), "digit")
    assert said == "Hard to say: perhaps a 7 (41 %), a 1 (38 %) or a 2 (12 %)."


@pytest.mark.parametrize(
    ("kind", "headline", "closest"),
    [
        ("digit", "This does not look like a digit.", "The closest would be an 8."),
        (
            "image",
            "This does not look like anything this model knows.",
            "The closest would be “8”.",
        ),
    ],
)
def test_what_is_no_digit_is_not_called_one_and_nothing_is_promised(
    kind: str, headline: str, closest: str
) -> None:
    promised: dict[str, Any] = {"prediction_set": ("8",), "coverage": 0.95}
    result = answer(("8", 0.99), in_distribution=False, **promised)
    assert formatting.answer(result, kind) == headline
    assert formatting.addition(result, kind) == closest


@pytest.mark.parametrize(
    ("confidence", "said"),
    [(0.95, "sure"), (0.8, "very likely"), (0.5, "probably"), (0.49, "hard to say")],
)
def test_how_sure_it_is_fits_into_a_table(confidence: float, said: str) -> None:
    assert formatting.certainty(answer(("7", confidence))) == said
    assert formatting.certainty(answer(("7", confidence), in_distribution=False)) == (
        "unlike what it knows"
    )


def test_other_labels_are_quoted() -> None:
    assert (
        formatting.answer(answer(("tabby cat", 0.8)), "image") == "Very likely “tabby cat” (80 %)."
    )


@pytest.mark.parametrize(
    ("kind", "labels", "coverage", "said"),
    [
        ("digit", ("4",), 0.95, "A 4, with 95 % coverage."),
        ("digit", ("8",), 0.9, "An 8, with 90 % coverage."),
        ("image", ("tabby cat",), 0.99, "“tabby cat”, with 99 % coverage."),
        ("digit", ("4", "9"), 0.95, "4 or 9: one of these with 95 % coverage."),
        ("digit", ("1", "7", "2"), 0.99, "1, 7 or 2: one of these with 99 % coverage."),
        ("image", ("cat", "dog"), 0.9, "“cat” or “dog”: one of these with 90 % coverage."),
    ],
)
def test_the_prediction_set_is_told_with_its_promise(
    kind: str, labels: tuple[str, ...], coverage: float, said: str
) -> None:
    result = answer((labels[0], 0.6), prediction_set=labels, coverage=coverage)
    assert formatting.addition(result, kind) == said


def test_a_long_set_is_counted_rather_than_told() -> None:
    labels = tuple(map(str, range(100, 150)))
    said = formatting.addition(answer(("100", 0.1), prediction_set=labels, coverage=0.99), "image")
    assert said is not None
    assert said.endswith("“109” or one of 40 more: one of these with 99 % coverage.")


def test_without_calibration_nothing_is_promised() -> None:
    assert formatting.addition(answer(("7", 0.6)), "digit") is None


@pytest.mark.parametrize(("error", "off"), [(0.002, "0.2"), (0.0, "less than 0.1"), (0.12, "12.0")])
def test_how_far_percentages_are_off_is_told_and_no_more(error: float, off: str) -> None:
    said = formatting.calibration(error)
    assert said == f"On its test pictures its percentages are off by {off} points on average."


def test_timings_are_told_in_milliseconds() -> None:
    said = formatting.timings(answer(("7", 1.0)).timings)
    assert said == "Decoded in 2.1 ms, waited 0.4 ms, classified in 18 ms"


def test_names_from_elsewhere_are_not_markup() -> None:
    escaped = formatting.plain("[x](y) <b>\n# $a$")
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
def test_what_no_backslash_protects_is_kept_apart(text: str) -> None:
    shown = formatting.plain(text)
    assert formatting.JOINER in shown
    assert shown.replace(formatting.JOINER, "").replace("\\", "") == text


@pytest.mark.parametrize("text", ["19:53:07", "a: b", "x-ray.png", "7 (98 %)"])
def test_ordinary_text_stays_whole(text: str) -> None:
    assert formatting.JOINER not in formatting.plain(text)


def test_an_address_of_ours_stays_whole() -> None:
    assert formatting.escaped("http://x.org *a*") == r"http\:\/\/x\.org \*a\*"
