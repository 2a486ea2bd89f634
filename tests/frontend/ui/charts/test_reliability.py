"""The reliability diagram."""

from typing import Any

from frontend.ui.charts.reliability import reliability_chart


def test_chart_has_points_and_a_diagonal() -> None:
    chart: dict[str, Any] = reliability_chart([(0.5, 0.25, 1), (0.9, 0.95, 40)]).to_dict()
    diagonal, line, points = chart["layer"]
    assert chart["datasets"][diagonal["data"]["name"]] == [
        {"confidence": 0, "accuracy": 0},
        {"confidence": 1, "accuracy": 1},
    ]
    for layer in (line, points):
        assert layer["encoding"]["x"]["scale"]["domain"] == [0, 1]
        assert layer["encoding"]["y"]["scale"]["domain"] == [0, 1]
    descriptions = [row["description"] for row in chart["datasets"][points["data"]["name"]]]
    assert descriptions[0] == "Confidence 50%, accuracy 25%, 1 image"
