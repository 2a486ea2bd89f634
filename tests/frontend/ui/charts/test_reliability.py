"""The reliability diagram."""

from typing import Any

from frontend.ui.charts.reliability import reliability_chart

BINS = [(0.5, 0.25, 1, None), (0.7, 0.75, 12, 1), (0.8, 0.85, 20, 1), (0.95, 0.9, 40, 2)]


def layers(bins: list[tuple[float, float, int, int | None]]) -> list[tuple[dict[str, Any], Any]]:
    """Return each layer of the chart with its rows."""
    chart: dict[str, Any] = reliability_chart(bins).to_dict()
    return [(layer, chart["datasets"][layer["data"]["name"]]) for layer in chart["layer"]]


def test_chart_has_a_diagonal_and_equal_scales() -> None:
    (_, rows), *others = layers(BINS)
    assert rows == [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]
    for layer, _ in others:
        assert layer["encoding"]["x"]["scale"]["domain"] == [0, 1]
        assert layer["encoding"]["y"]["scale"]["domain"] == [0, 1]


def test_lines_join_only_bins_with_the_same_number() -> None:
    _, (line, rows), (points, _), _ = layers(BINS)
    assert line["mark"]["type"] == "line"
    assert line["encoding"]["detail"]["field"] == "line"
    assert [row["line"] for row in rows] == [1, 1, 2]
    assert points["mark"]["filled"] is True


def test_bins_with_too_few_images_are_hollow_points() -> None:
    *_, (hollow, rows) = layers(BINS)
    assert hollow["mark"] | {"filled": False, "type": "point"} == hollow["mark"]
    assert [row["description"] for row in rows] == ["Confidence 50%, accuracy 25%, 1 image"]


def test_empty_layers_are_omitted() -> None:
    _, (hollow, rows) = layers(BINS[:1])
    assert (hollow["mark"]["filled"], len(rows)) == (False, 1)
    marks = [layer["mark"]["type"] for layer, _ in layers(BINS[1:])]
    assert marks == ["line", "line", "point"]
