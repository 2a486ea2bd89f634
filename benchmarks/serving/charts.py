"""Charts of the figures as SVG, on a light card that is readable on light and dark pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.results import CurvePoint, Figure, Result
from benchmarks.serving.stats import spread

_MET, _MISSED, _PEERS = "#2a7f62", "#c0392b", "#3b6fb6"


def write_charts(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write the charts that `results` allow; return their files."""
    import matplotlib as mpl  # takes a second, and only this function requires it

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "prism", "font.size": 9}
    ratios = [
        figure
        for result in results
        for figure in result.figures
        if figure.target and not figure.unit and figure.values
    ]
    curves = [point for result in results for point in result.curves]
    written = []
    if ratios:
        written.append(_save(_draw_ratios(ratios), folder / "performance-ratios.svg"))
    if curves:
        written.append(_save(_draw_curves(curves), folder / "performance-latency.svg"))
    return written


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
    return path


def _draw_ratios(figures: Sequence[Figure]) -> Any:
    """Return a chart of each ratio relative to its target, with the spread of the rounds."""
    from matplotlib.figure import Figure as Chart

    chart = Chart(figsize=(9, 0.9 + 0.3 * len(figures)), layout="constrained")
    axes = chart.add_subplot()
    for place, figure in enumerate(reversed(figures)):
        target = figure.target
        assert target is not None  # noqa: S101  # selected by `write_charts`
        rounds = spread([_relative(value, figure) for value in figure.values])
        color = _MET if target.is_met(spread(figure.values).median) else _MISSED
        axes.barh(place, rounds.median, color=color, height=0.6)
        axes.plot((rounds.low, rounds.high), (place, place), color="black", linewidth=1)
        text = f"{spread(figure.values).median:.2f} (target {target})"
        axes.annotate(text, (rounds.high, place), (4, 0), textcoords="offset points", va="center")
    axes.axvline(1, color="black", linestyle="--", linewidth=1)
    labels = [f"{one.scenario}: {one.label}" for one in reversed(figures)]
    axes.set_yticks(range(len(figures)), labels)
    axes.set_xlim(0, 1.35 * max(1.0, *(_relative(max(one.values), one) for one in figures)))
    axes.set_xlabel("ratio relative to its target (dashed); right of it, the target is reached")
    axes.spines[["top", "right"]].set_visible(False)
    return chart


def _relative(value: float, figure: Figure) -> float:
    """Return how far `value` reaches the target: 1 is the target, more is better."""
    if figure.target is None or not value:
        return 0.0
    target = figure.target.value
    return value / target if figure.target.sign == "≥" else target / value


def _draw_curves(points: Sequence[CurvePoint]) -> Any:
    """Return a chart of latency by load for each scenario."""
    from matplotlib.figure import Figure as Chart
    from matplotlib.ticker import LogFormatter

    scenarios = list(dict.fromkeys(point.scenario for point in points))
    chart = Chart(figsize=(4.5 * len(scenarios), 3.4), layout="constrained")
    for number, scenario in enumerate(scenarios, 1):
        axes = chart.add_subplot(1, len(scenarios), number)
        names = list(dict.fromkeys(one.system for one in points if one.scenario == scenario))
        for name in names:
            own = [one for one in points if (one.scenario, one.system) == (scenario, name)]
            loads = [spread(one.rates).median for one in own]
            color = _MET if name == names[0] else _PEERS
            for values, style, quantile in (
                ([one.p50 for one in own], "--", "median"),
                ([one.p99 for one in own], "-", "p99"),
            ):
                medians = [spread(one).median for one in values]
                axes.plot(
                    loads, medians, style, marker="o", color=color, label=f"{name}, {quantile}"
                )
        axes.set_title(scenario, fontsize=10)
        axes.set_xlabel("requests/s, at 50, 80 and 95 % of saturation")
        axes.set_ylabel("latency, ms")
        axes.set_yscale("log")
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks(LogFormatter(minor_thresholds=(2, 0.6)))
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    return chart
