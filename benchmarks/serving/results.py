"""Benchmark figures: targets, ratios, latency curves, and their storage."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.serving.stats import spread

CPU_UNIT = "CPU s / 1,000 images"


@dataclass(frozen=True)
class Target:
    """A lower (≥) or upper (≤) bound."""

    sign: Literal["≥", "≤"]
    value: float

    def is_met(self, median: float) -> bool:
        """Return whether the median of the rounds reaches the target."""
        return median >= self.value if self.sign == "≥" else median <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One row of a table: a value for each round, in `unit` (empty for a ratio)."""

    scenario: str
    label: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return `yes`, `no`, a dash if no value was measured, or "" if there is no target."""
        if self.target is None:
            return ""
        median = spread(self.values).median
        if math.isnan(median):
            return "—"
        return "yes" if self.target.is_met(median) else "no"


@dataclass
class CurvePoint:
    """The latency of a system at `share` of its saturated throughput, a value for each round.

    `rates` are requests per second, `p50`, `p90` and `p99` milliseconds; `failures` counts the
    responses with another status than 200.
    """

    scenario: str
    system: str
    share: float
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p90: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    failures: int = 0

    def add(self, rate: float, latency: Any, failures: Mapping[str, int]) -> None:
        """Add a round; `latency` has the attributes p50, p90 and p99 in milliseconds."""
        self.rates.append(rate)
        self.p50.append(latency.p50)
        self.p90.append(latency.p90)
        self.p99.append(latency.p99)
        self.failures += sum(failures.values())


@dataclass(frozen=True)
class Measured:
    """What a scenario measured."""

    figures: list[Figure]
    curves: list[CurvePoint] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """The figures of one scenario, with the options and the machine of the measurement.

    `profile` holds lines of text: where Prism spent its time, if a target was missed.
    """

    scenario: str
    rounds: int
    seconds: float
    machine: str
    figures: list[Figure] = field(default_factory=list)
    curves: list[CurvePoint] = field(default_factory=list)
    commit: str = ""
    profile: list[str] = field(default_factory=list)


def at_least(value: float) -> Target:
    """Return a target that is a lower bound."""
    return Target("≥", value)


def at_most(value: float) -> Target:
    """Return a target that is an upper bound."""
    return Target("≤", value)


def save(result: Result, folder: Path) -> None:
    """Write a result to `folder`, in place of the previous one of its scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = _round(asdict(result))
    text = json.dumps(fields, indent=1, ensure_ascii=False)
    (folder / f"{result.scenario}.json").write_text(text + "\n")


def _round(value: Any) -> Any:
    """Return `value` with six significant digits in all numbers."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _round(member) for key, member in value.items()}
    return [_round(member) for member in value] if isinstance(value, (list, tuple)) else value


def load(scenarios: Sequence[str], folder: Path) -> list[Result]:
    """Return the saved results of `scenarios`, in this order."""
    results = []
    for name in scenarios:
        path = folder / f"{name}.json"
        if path.exists():
            fields = json.loads(path.read_text())
            figures = [_parse_figure(figure) for figure in fields.pop("figures")]
            curves = [CurvePoint(**point) for point in fields.pop("curves")]
            results.append(Result(**fields, figures=figures, curves=curves))
    return results


def _parse_figure(fields: dict[str, Any]) -> Figure:
    target = fields.pop("target")
    return Figure(**fields, target=Target(**target) if target else None)
