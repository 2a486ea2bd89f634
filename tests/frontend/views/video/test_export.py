"""Captions, frequencies, table and CSV of classified frames."""

import csv
import html
import io
import re

import pytest

from client import BackendError, Classification
from frontend.service import errors
from frontend.service.predictions import Outcome, PredictionRequest
from frontend.views.video.export import (
    caption,
    escape,
    format_time,
    frequencies,
    to_csv,
    to_rows,
    to_webvtt,
)
from frontend.views.video.protocol import End
from frontend.views.video.result import ClassifiedFrame, VideoResult
from frontend.views.video.source import ClipSource
from tests.frontend.samples import MODEL, make_classification

REJECTED = BackendError(status=415)
CUE = re.compile(r"(\S+) --> (\S+)\n(.*)\n(?:\n|$)")


def classification(
    label: str = "7", confidence: float = 0.98, *, in_distribution: bool | None = True
) -> Classification:
    return make_classification(
        (label, confidence),
        prediction_set=(label,),
        coverage=0.95,
        in_distribution=in_distribution,
    )


def frames(*outcomes: Outcome) -> list[ClassifiedFrame]:
    """Return one frame per outcome, each half a second long."""
    return [ClassifiedFrame(n / 2, n / 2 + 0.5, outcome, b"") for n, outcome in enumerate(outcomes)]


def cues(text: str) -> list[tuple[str, str, str]]:
    """Parse captions as a player does."""
    head, _, body = text.partition("\n\n")
    assert head == "WEBVTT"
    found = CUE.findall(body)
    assert CUE.sub("", body) == ""
    return [(start, end, html.unescape(text)) for start, end, text in found]


def test_each_frame_has_a_caption_until_the_next_frame() -> None:
    assert cues(to_webvtt(frames(classification("7"), classification("3", 0.6)), "digit")) == [
        ("00:00:00.000", "00:00:00.500", "7 (98%)"),
        ("00:00:00.500", "00:00:01.000", "3 (60%)"),
    ]


def test_out_of_distribution_frame_has_no_label() -> None:
    assert caption(classification("7", in_distribution=False), "digit") == "Not a digit"
    other = caption(classification("cat", in_distribution=False), "image")
    assert other == "Not one of the model's classes"


def test_unknown_distribution_shows_the_label() -> None:
    assert caption(classification("cat", 0.5, in_distribution=None), "image") == "cat (50%)"


def test_low_confidence_prediction_is_marked() -> None:
    assert caption(classification("cat", 0.2), "image") == "Perhaps cat (20%)"


def test_failed_frame_has_a_caption() -> None:
    assert caption(BackendError(status=415), "digit") == "Could not be classified"


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
def test_label_is_escaped_within_its_caption(label: str) -> None:
    (first, second) = cues(to_webvtt(frames(classification(label), classification("7")), "image"))
    shown = "".join(c if c.isprintable() else " " for c in label)
    assert first[2] == f"{' '.join(shown.split()) or '(no name)'} (98%)"
    assert second[2] == "7 (98%)"


def test_escape_removes_markup() -> None:
    assert escape("<c>a</c> --> & b\n\nc") == "&lt;c&gt;a&lt;/c&gt; --&gt; &amp; b c"


def test_long_label_is_shortened() -> None:
    assert len(caption(classification("x" * 500), "image")) < 80


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (3725.25, "01:02:05.250")],
)
def test_format_time_writes_webvtt_timestamps(seconds: float, shown: str) -> None:
    assert format_time(seconds) == shown


def test_caption_lasts_at_least_a_millisecond() -> None:
    ((start, end, _),) = cues(to_webvtt([ClassifiedFrame(1, 1, classification(), b"")], "digit"))
    assert (start, end) == ("00:00:01.000", "00:00:01.001")


def csv_rows(*classified: ClassifiedFrame) -> list[dict[str, str]]:
    source = ClipSource("x.mp4")
    text = to_csv(VideoResult(source, PredictionRequest(MODEL), 2.0, None, End(), classified))
    source.close()
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_frequencies_count_each_prediction() -> None:
    out = classification("7", in_distribution=False)
    classified = frames(
        classification("7"), classification("7"), classification("3"), out, REJECTED
    )
    assert frequencies(classified, "digit") == [
        "7: 2 of 5 frames (40%)",
        "3: 1 of 5 frames (20%)",
        "Not a digit: 1 of 5 frames (20%)",
        "Could not be classified: 1 of 5 frames (20%)",
    ]


def test_rare_predictions_are_counted_together() -> None:
    classified = frames(*(classification(str(n)) for n in range(8)), *(classification("0"),) * 2)
    assert frequencies(classified, "digit")[0] == "0: 3 of 10 frames (30%)"
    assert frequencies(classified, "digit")[-1] == "3 other classes: 3 of 10 frames (30%)"
    assert len(frequencies(classified, "digit")) == 6


def test_out_of_distribution_row_has_no_confidence() -> None:
    first, second = to_rows(
        frames(classification("7"), classification("7", in_distribution=False)), "digit"
    )
    assert first == {"Time (s)": 0.0, "Prediction": "7", "Confidence": "98%"}
    assert second == {"Time (s)": 0.5, "Prediction": "Not a digit", "Confidence": ""}


def test_csv_has_one_line_per_frame() -> None:
    first, second = csv_rows(
        *frames(classification("7"), classification("3", 0.5, in_distribution=None))
    )
    assert first == {
        "time": "0.0",
        "until": "0.5",
        "prediction": "7",
        "confidence": "0.98",
        "in_distribution": "true",
        "ood_score": "",
        "prediction_set": "7",
        "coverage": "0.95",
        "model": "mnist-cnn",
        "version": "1",
        "error": "",
    }
    assert (second["time"], second["prediction"], second["in_distribution"]) == ("0.5", "3", "")


def test_csv_contains_the_error_of_a_failed_frame() -> None:
    (line,) = csv_rows(*frames(REJECTED))
    assert line["prediction"] == ""
    assert line["error"] == errors.describe(REJECTED).message


def test_labels_cannot_be_spreadsheet_formulas() -> None:
    labels = ["=1+1", "+1", "-1", "@x", "\tx", "'=1"]
    lines = csv_rows(*frames(*(classification(label) for label in labels)))
    assert [line["prediction"] for line in lines] == [f"'{label}" for label in labels]
    assert [line["prediction_set"] for line in lines] == [f"'{label}" for label in labels]
