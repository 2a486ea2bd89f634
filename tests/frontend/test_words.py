"""Answers in words."""

import pytest

from frontend import words
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
    assert words.percent(probability) == shown


def test_a_sure_answer_is_said_plainly() -> None:
    assert words.answer(answer(("7", 0.998), ("1", 0.002)), "digit") == "This is a 7 (99.8 %)."
    assert words.answer(answer(("8", 0.97)), "digit") == "This is an 8 (97 %)."


def test_an_unsure_answer_names_the_other_one() -> None:
    said = words.answer(answer(("7", 0.62), ("1", 0.3), ("2", 0.08)), "digit")
    assert said == "Probably a 7 (62 %), maybe a 1 (30 %)."


def test_a_guess_is_called_one() -> None:
    said = words.answer(answer(("7", 0.41), ("1", 0.38), ("2", 0.12), ("3", 0.06)), "digit")
    assert said == "Hard to say: perhaps a 7 (41 %), a 1 (38 %) or a 2 (12 %)."


def test_what_is_no_digit_is_not_called_one() -> None:
    said = words.answer(answer(("8", 0.99), in_distribution=False), "digit")
    assert said == "This does not look like a digit. The closest would be an 8 (99.0 %)."


def test_other_labels_are_quoted() -> None:
    assert words.answer(answer(("tabby cat", 0.8)), "image") == "Very likely “tabby cat” (80 %)."


def test_the_prediction_set_is_told_with_its_promise() -> None:
    result = answer(("7", 0.6), prediction_set=("7", "1"), coverage=0.95)
    said = words.coverage(result, "digit")
    assert said is not None
    assert "95 %" in said
    assert "a 7 or a 1" in said
    assert words.coverage(answer(("7", 0.6)), "digit") is None


def test_timings_are_told_in_milliseconds() -> None:
    said = words.timings(answer(("7", 1.0)).timings)
    assert said == "Decoded in 2.1 ms, waited 0.4 ms, classified in 18 ms"


def test_names_from_elsewhere_are_not_markup() -> None:
    escaped = words.plain("[x](http://y) :red[z] <b>\n# $a$")
    assert escaped == r"\[x\]\(http\:\/\/y\) \:red\[z\] \<b\> \# \$a\$"
