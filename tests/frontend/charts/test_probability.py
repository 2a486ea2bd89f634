"""The probability chart."""

from typing import Any

from frontend.charts.probability import probability_chart, probability_frame

GUESSES = [("1", 0.3), ("7", 0.62), ("2", 0.08)]


def test_the_likeliest_is_on_top_with_its_percentage() -> None:
    frame = probability_frame(GUESSES)
    assert list(frame["label"]) == ["7", "1", "2"]
    assert list(frame["probability"]) == [0.62, 0.3, 0.08]
    assert list(frame["shown"]) == ["62 %", "30 %", "8 %"]


def test_bars_lie_on_a_whole_from_0_to_1_in_that_order() -> None:
    chart: dict[str, Any] = probability_chart(GUESSES).to_dict()
    bars, text = chart["layer"]
    assert bars["mark"]["type"] == "bar"
    assert bars["encoding"]["x"]["scale"]["domain"] == [0, 1]
    assert bars["encoding"]["x"]["field"] == "probability"
    assert bars["encoding"]["y"]["sort"] == ["7", "1", "2"]
    assert text["encoding"]["text"]["field"] == "shown"


def test_long_labels_that_begin_alike_keep_rows_of_their_own() -> None:
    labels = ["American Staffordshire terrier", "American Staffordshire bull", "cat"]
    shown = list(probability_frame([(label, 0.3) for label in labels])["label"])
    assert len(set(shown)) == 3
    assert all(len(label) < 25 for label in shown)
