"""Confusion and difference matrices."""

from typing import Any

import pytest

from frontend.ui.charts.matrix import (
    NO_FILL,
    SELECTION,
    confusion_frame,
    difference_frame,
    matrix_chart,
)

COUNTS = {("a", "a"): 1200, ("a", "b"): 3, ("b", "b"): 5, ("b", "a"): 1}


def count(true: str, predicted: str) -> int:
    return COUNTS.get((true, predicted), 0)


def cells(frame: Any, column: str) -> dict[tuple[str, str], Any]:
    rows = zip(frame["true"], frame["predicted"], frame[column], strict=True)
    return {(true, predicted): value for true, predicted, value in rows}


def luminance(color: str) -> float:
    if color.startswith("#"):
        return 0.0 if color == "#000" else 1.0
    parts = [int(part) / 255 for part in color[4:-1].split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(a * b for a, b in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def test_cells_show_their_count_unless_it_is_zero() -> None:
    text = cells(confusion_frame(["a", "b", "c"], count), "text")
    assert text["a", "a"] == "1,200"
    assert text["b", "a"] == "1"
    assert text["c", "a"] == ""


def test_hidden_diagonal_leaves_the_mistakes() -> None:
    frame = confusion_frame(["a", "b"], count, diagonal=False)
    assert cells(frame, "text") == {
        ("a", "a"): "",
        ("a", "b"): "3",
        ("b", "a"): "1",
        ("b", "b"): "",
    }
    assert cells(frame, "description")["a", "a"] == "true a, predicted a: 1,200"


def test_difference_has_signs_and_one_hue_for_improvements() -> None:
    change = {("a", "a"): 4, ("a", "b"): -4, ("b", "a"): 4, ("b", "b"): -4}
    frame = difference_frame(["a", "b"], lambda true, predicted: change[true, predicted])
    assert cells(frame, "text") == {
        ("a", "a"): "+4", ("a", "b"): "−4", ("b", "a"): "+4", ("b", "b"): "−4",
    }  # fmt: skip
    fill = cells(frame, "fill")
    assert fill["a", "a"] == fill["a", "b"] != fill["b", "a"] == fill["b", "b"]


@pytest.mark.parametrize("share", [1, 5, 20, 35, 50, 65, 80, 100])
def test_text_has_enough_contrast_on_every_shade(share: int) -> None:
    shades = {("a", "a"): share, ("a", "b"): 100 - share or 1, ("b", "a"): 100}
    frame = confusion_frame(["a", "b"], lambda *pair: shades.get(pair, 0))
    for fill, text_color in zip(frame["fill"], frame["text_color"], strict=True):
        if fill != NO_FILL:
            light, dark = sorted((luminance(fill), luminance(text_color)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_chart_starts_with_the_selected_cell() -> None:
    frame = confusion_frame(["a", "b"], count)
    chart: dict[str, Any] = matrix_chart(frame, ("a", "b"), selectable=True).to_dict()
    (point,) = (one for one in chart["params"] if one["name"] == SELECTION)
    assert point["value"] == [{"row": 0, "column": 1}]


def test_labels_with_a_common_prefix_have_separate_rows() -> None:
    labels = ["American Staffordshire terrier", "American Staffordshire bull"]
    frame = confusion_frame(labels, count)
    assert len(set(frame["true_name"])) == 2
