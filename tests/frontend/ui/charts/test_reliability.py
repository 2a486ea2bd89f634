"""The reliability diagram."""

from typing import Any

from frontend.ui.charts.reliability import reliability_chart


def test_points_lie_on_a_square_beside_the_diagonal() -> None:
    chart: dict[str, Any] = reliability_chart([(0.5, 0.25, 1), (0.9, 0.95, 40)]).to_dict()
    diagonal, line, points = chart["layer"]
    assert chart["datasets"][diagonal["data"]["name"]] == [
        {"confidence": 0, "accuracy": 0},
        {"confidence": 1, "accuracy": 1},
    ]
    for layer in (line, points):
        assert layer["encoding"]["x"]["scale"]["domain"] == [0, 1]
        assert layer["encoding"]["y"]["scale"]["domain"] == [0, 1]
    says = [row["says"] for row in chart["datasets"][points["data"]["name"]]]
    assert says[0] == "Said 50 %, right in 25 % of 1 picture"
