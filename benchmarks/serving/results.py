"""Figures that are kept between runs, so that scenarios can be measured one at a time."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.serving.metrics import Figure, Target


@dataclass(frozen=True)
class Result:
    """The figures of one scenario, and how they came about."""

    scenario: str
    rounds: int
    seconds: float
    machine: str
    figures: list[Figure] = field(default_factory=list)


def keep(result: Result, folder: Path) -> None:
    """Put a result in the place of an earlier one of its scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.scenario}.json").write_text(json.dumps(asdict(result), indent=1))


def kept(order: Sequence[str], folder: Path) -> list[Result]:
    """The results that are there, of the scenarios `order`."""
    found = []
    for name in order:
        path = folder / f"{name}.json"
        if path.exists():
            read = json.loads(path.read_text())
            figures = [_figure(one) for one in read.pop("figures")]
            found.append(Result(**read, figures=figures))
    return found


def _figure(read: dict[str, object]) -> Figure:
    target = read.pop("target")
    bound = Target(**target) if isinstance(target, dict) else None
    return Figure(**read, target=bound)  # type: ignore[arg-type]
