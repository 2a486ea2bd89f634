"""What was seen when: in words and as a CSV."""

import csv
import io

from client import BackendError
from frontend.service.predictions import Question
from frontend.views.video.protocol import End
from frontend.views.video.result import Answered, Reading, Source
from frontend.views.video.table import as_csv, frequencies, rows
from tests.frontend.views.video.results import MODEL, answer, frames

REFUSED = BackendError(status=415)


def table(*answered: Answered) -> list[dict[str, str]]:
    source = Source("x.mp4")
    text = as_csv(Reading(source, Question(MODEL), 2.0, None, End(), answered))
    source.close()
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_words_say_how_often_each_class_was_seen() -> None:
    none = answer("7", in_distribution=False)
    seen = frames(answer("7"), answer("7"), answer("3"), none, REFUSED)
    assert frequencies(seen, "digit") == [
        "7: 2 of 5 frames (40 %)",
        "3: 1 of 5 frames (20 %)",
        "Not a digit: 1 of 5 frames (20 %)",
        "Could not be read: 1 of 5 frames (20 %)",
    ]


def test_of_many_classes_the_rare_ones_are_counted() -> None:
    seen = frames(*(answer(str(n)) for n in range(8)), *(answer("0"),) * 2)
    assert frequencies(seen, "digit")[0] == "0: 3 of 10 frames (30 %)"
    assert frequencies(seen, "digit")[-1] == "3 other classes: 3 of 10 frames (30 %)"
    assert len(frequencies(seen, "digit")) == 6


def test_the_table_names_no_confidence_in_what_is_no_class() -> None:
    first, second = rows(frames(answer("7"), answer("7", in_distribution=False)), "digit")
    assert first == {"Second": 0.0, "Answer": "7", "Confidence": "98 %"}
    assert second == {"Second": 0.5, "Answer": "Not a digit", "Confidence": ""}


def test_the_csv_has_a_line_for_each_frame() -> None:
    first, second = table(*frames(answer("7"), answer("3", 0.5, in_distribution=None)))
    assert first == {
        "time": "0.0",
        "until": "0.5",
        "prediction": "7",
        "confidence": "0.98",
        "in_distribution": "true",
        "ood_score": "",
        "prediction_set": "7",
        "coverage": "0.95",
        "model": "digits",
        "version": "1",
        "error": "",
    }
    assert (second["time"], second["prediction"], second["in_distribution"]) == ("0.5", "3", "")


def test_a_frame_that_was_not_read_has_the_reason_in_the_csv() -> None:
    (line,) = table(*frames(REFUSED))
    assert line["prediction"] == ""
    assert line["error"] == "This file is not a picture that can be read."


def test_no_label_is_a_formula_of_a_spreadsheet() -> None:
    labels = ["=1+1", "+1", "-1", "@x", "\tx", "'=1"]
    lines = table(*frames(*(answer(label) for label in labels)))
    assert [line["prediction"] for line in lines] == [f"'{label}" for label in labels]
    assert [line["prediction_set"] for line in lines] == [f"'{label}" for label in labels]
