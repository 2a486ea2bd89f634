"""The Markdown report: figures, latency curves, processor time, profiles and commands."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.serving.results import CPU_UNIT, CurvePoint, Figure, Result
from benchmarks.serving.stats import spread

BEGIN = "<!-- figures: begin, written by make bench -->"
END = "<!-- figures: end -->"

_FIGURES_HEAD = (
    "| scenario | figure | min | median | max | target | reached | notes |",
    "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
)
_CURVES_HEAD = (
    "| scenario | system | load | requests/s | p50, ms | p90, ms | p99, ms | p99, min–max |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
)
_CPU_HEAD = (
    "| scenario | system | CPU s, min | median | max | energy, J | notes |",
    "| --- | --- | ---: | ---: | ---: | ---: | --- |",
)


def render_report(results: Sequence[Result], watts: float) -> str:
    """Return all tables, followed by the machine and the commands of the measurement.

    `watts` is the power of a busy core, which the energy proxy assumes.
    """
    figures = [figure for result in results for figure in result.figures]
    parts = []
    if main := [one for one in figures if one.unit != CPU_UNIT]:
        parts.append(render_table(main))
    if curves := [point for result in results for point in result.curves]:
        parts += [
            "Latency at shares of the saturated throughput of each system (medians of the rounds):",
            _table(_CURVES_HEAD, map(_curve_cells, curves)),
        ]
    if cpu := [one for one in figures if one.unit == CPU_UNIT]:
        parts += [
            "Processor time of all processes of the server for 1,000 images. The energy is a "
            f"proxy: CPU seconds x {watts:g} W per busy core, without memory, fans and idle power.",
            _table(_CPU_HEAD, (_cpu_cells(one, watts) for one in cpu)),
        ]
    for result in results:
        if result.profile:
            parts += [f"Profile of `{result.scenario}`:", _fence("text", result.profile)]
    for machine in dict.fromkeys(result.machine for result in results):
        measured = [result for result in results if result.machine == machine]
        parts += [f"Measured on {machine}, with:", _fence("bash", map(_command, measured))]
    return "\n\n".join(parts)


def render_table(figures: Iterable[Figure]) -> str:
    """Return a Markdown table with one row for each figure; targets apply to the median."""
    return _table(_FIGURES_HEAD, map(_figure_cells, figures))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([*head, *(f"| {' | '.join(cells)} |" for cells in rows)])


def _fence(language: str, lines: Iterable[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _command(result: Result) -> str:
    options = f"--only {result.scenario} --rounds {result.rounds} --seconds {result.seconds:g}"
    return f"make bench ARGS='{options}'" + (f"  # {result.commit}" if result.commit else "")


def _figure_cells(figure: Figure) -> Sequence[str]:
    unit = f", {figure.unit}" if figure.unit else ""
    rounds = spread(figure.values)
    return (
        figure.scenario,
        figure.label + unit,
        *(format_number(value) for value in (rounds.low, rounds.median, rounds.high)),
        str(figure.target or ""),
        figure.verdict,
        figure.note,
    )


def _curve_cells(point: CurvePoint) -> Sequence[str]:
    slowest = spread(point.p99)
    values = (point.rates, point.p50, point.p90, point.p99)
    return (
        point.scenario,
        point.system + (f" ({point.failures} failed)" if point.failures else ""),
        f"{point.share:.0%}",
        *(format_number(spread(one).median) for one in values),
        f"{format_number(slowest.low)}–{format_number(slowest.high)}",
    )


def _cpu_cells(figure: Figure, watts: float) -> Sequence[str]:
    rounds = spread(figure.values)
    seconds = (format_number(one) for one in (rounds.low, rounds.median, rounds.high))
    energy = format_number(rounds.median * watts)
    return (figure.scenario, figure.label, *seconds, energy, figure.note)


def format_number(value: float) -> str:
    """Return three significant digits with at most two decimals; NaN is a dash."""
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def update_document(path: Path, text: str) -> None:
    """Replace the text between the two markers of `path`; raise ValueError if one is missing."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} does not contain the markers {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
