"""Captions over the picture."""

import html
import re

import pytest

from client import BackendError
from frontend.views.video.export import caption, clock, escaped, webvtt
from frontend.views.video.result import Answered
from tests.frontend.views.video.results import answer, frames

CUE = re.compile(r"(\S+) --> (\S+)\n(.*)\n(?:\n|$)")


def cues(text: str) -> list[tuple[str, str, str]]:
    """Read captions as a player does."""
    head, _, body = text.partition("\n\n")
    assert head == "WEBVTT"
    found = CUE.findall(body)
    assert CUE.sub("", body) == ""
    return [(start, end, html.unescape(words)) for start, end, words in found]


def test_each_frame_has_a_caption_until_the_next_one() -> None:
    assert cues(webvtt(frames(answer("7"), answer("3", 0.6)), "digit")) == [
        ("00:00:00.000", "00:00:00.500", "7 (98 %)"),
        ("00:00:00.500", "00:00:01.000", "3 (60 %)"),
    ]


def test_what_is_no_digit_is_not_called_one() -> None:
    assert caption(answer("7", in_distribution=False), "digit") == "Does not look like a digit"
    other = caption(answer("cat", in_distribution=False), "image")
    assert other == "Does not look like anything this model knows"


def test_a_model_that_cannot_tell_names_its_class() -> None:
    assert caption(answer("cat", 0.5, in_distribution=None), "image") == "cat (50 %)"


def test_an_answer_that_is_not_likely_is_no_statement() -> None:
    assert caption(answer("cat", 0.2), "image") == "Perhaps cat (20 %)"


def test_a_frame_without_an_answer_is_said_to_have_none() -> None:
    assert caption(BackendError(status=415), "digit") == "This picture could not be read"


@pytest.mark.parametrize(
    "label",
    [
        "a --> b",
        "<b>bold</b>",
        "&lt;",
        "00:00.000 --> 00:01.000",
        "two\n\nlines",
        "\u2028x\x00y",
        "",
    ],
)
def test_a_label_stays_text_in_its_own_caption(label: str) -> None:
    (first, second) = cues(webvtt(frames(answer(label), answer("7")), "image"))
    shown = "".join(c if c.isprintable() else " " for c in label)
    assert first[2] == f"{' '.join(shown.split()) or '(no name)'} (98 %)"
    assert second[2] == "7 (98 %)"


def test_nothing_in_a_caption_can_be_taken_for_markup() -> None:
    assert escaped("<c>a</c> --> & b\n\nc") == "&lt;c&gt;a&lt;/c&gt; --&gt; &amp; b c"


def test_a_long_label_does_not_hide_the_picture() -> None:
    assert len(caption(answer("x" * 500), "image")) < 80


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (3725.25, "01:02:05.250")],
)
def test_times_are_written_as_players_read_them(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_a_caption_is_never_shorter_than_a_millisecond() -> None:
    ((start, end, _),) = cues(webvtt([Answered(1, 1, answer(), b"")], "digit"))
    assert (start, end) == ("00:00:01.000", "00:00:01.001")
