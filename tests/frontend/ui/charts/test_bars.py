"""Bar charts of counts and pairs of probabilities."""

from typing import Any

from frontend.ui.charts.bars import count_chart, pair_chart


def rows(chart: dict[str, Any]) -> list[dict[str, Any]]:
    (data,) = chart["datasets"].values()
    result: list[dict[str, Any]] = data
    return result


def test_counts_keep_their_order_and_have_text() -> None:
    chart: dict[str, Any] = count_chart([("9", 3, "3 of 8"), ("1", 2, "2 of 5")]).to_dict()
    assert [row["text"] for row in rows(chart)] == ["3 of 8", "2 of 5"]
    bars, text = chart["layer"]
    assert bars["encoding"]["y"]["sort"] == ["9", "1"]
    assert text["encoding"]["text"]["field"] == "text"


def test_each_bar_of_a_pair_names_its_model() -> None:
    chart: dict[str, Any] = pair_chart([("7", 0.9, 0.25)]).to_dict()
    assert [row["text"] for row in rows(chart)] == ["A 90%", "B 25%"]
    assert [row["number"] for row in rows(chart)] == [0.9, 0.25]
