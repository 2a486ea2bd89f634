"""The timeline of a video."""

from typing import Any

from frontend.ui.charts.timeline import (
    NO_CLASS,
    OTHERS,
    SELECTION,
    Span,
    timeline_chart,
    timeline_frame,
)

SPANS = [
    Span(0, 0.5, "3", 0.99),
    Span(0.5, 1, "7", 0.6),
    Span(1, 1.5, "Not a digit", None),
    Span(1.5, 2, "7", 0.9),
]


def chart(*spans: Span, selected: float | None = None) -> dict[str, Any]:
    result: dict[str, Any] = timeline_chart(spans, selected).to_dict()
    return result


def test_each_frame_is_in_the_row_of_its_class() -> None:
    frame = timeline_frame(SPANS)
    assert list(frame["row"]) == ["3", "7", "Not a digit", "7"]
    assert list(frame["start"]) == [0, 0.5, 1, 1.5]
    assert list(frame["end"]) == [0.5, 1, 1.5, 2]
    assert list(frame["frame"]) == [0, 1, 2, 3]


def test_classes_have_colors_and_frames_without_class_are_gray() -> None:
    frame = timeline_frame(SPANS)
    three, seven, none, again = frame["color"]
    assert len({three, seven, none}) == 3
    assert seven == again
    assert none == NO_CLASS
    assert list(frame["text"]) == ["99.0%", "60%", "", "90%"]


def test_bar_thickness_is_the_confidence() -> None:
    bars = chart(*SPANS)["layer"][0]
    assert bars["encoding"]["size"]["field"] == "confidence"
    assert bars["encoding"]["size"]["scale"]["domain"] == [0, 1]


def test_rare_classes_share_the_last_row() -> None:
    many = [Span(n, n + 1, f"class {n}", 0.5) for n in range(12)]
    many += [Span(12 + n, 13 + n, f"class {n}", 0.5) for n in range(8)]
    frame = timeline_frame(many)
    assert list(frame["row"][8:12]) == [OTHERS] * 4
    assert list(frame["name"][8:12]) == [f"class {n}" for n in range(8, 12)]
    rows = chart(*many)["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert rows == [*(f"class {n}" for n in range(8)), OTHERS]


def test_time_axis_ends_with_the_last_frame() -> None:
    axis = chart(*SPANS[1:])["layer"][0]["encoding"]["x"]
    assert axis["scale"]["domain"] == [0, 2]


def test_click_selects_a_frame_and_a_line_marks_it() -> None:
    drawn = chart(*SPANS, selected=1.5)
    assert [(one["name"], one["select"]["fields"]) for one in drawn["params"]] == [
        (SELECTION, ["frame"])
    ]
    assert {"time": 1.5} in [row for rows in drawn["datasets"].values() for row in rows]
