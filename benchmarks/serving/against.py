"""Comparison of this checkout with another revision of Prism: ratios, and regressions.

make bench ARGS='--against HEAD~3 --only digits,photos'
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.serving.assets import CACHE
from benchmarks.serving.machine import run_git
from benchmarks.serving.measurement import Log, Options
from benchmarks.serving.results import Figure
from benchmarks.serving.scenarios import Scenario, with_systems
from benchmarks.serving.stats import ratios, spread
from benchmarks.serving.systems import PRISM, System
from benchmarks.serving.throughput import UNITS

TOLERANCE = 0.05  # of the median ratio, before a change counts

DEFAULT = ("digits", "digit-latency", "photos", "mobilenet", "start")  # scenarios


class RevisionError(Exception):
    """The revision cannot be checked out; the message says why."""


@dataclass(frozen=True)
class Change:
    """A figure of this checkout and of the other revision, a value for each round."""

    scenario: str
    unit: str
    new: Sequence[float]
    old: Sequence[float]

    @property
    def speedups(self) -> list[float]:
        """Return the ratio of each round; above 1, this checkout is better."""
        if self.unit == UNITS["rate"]:
            return ratios(self.new, self.old)
        return ratios(self.old, self.new)

    @property
    def verdict(self) -> str:
        """Return `regression`, `improvement`, `no change` or `not measured`.

        A change is one of more than TOLERANCE, where also the values of all rounds of one
        revision are better than all of the other.
        """
        median = spread(self.speedups).median
        if math.isnan(median):
            return "not measured"
        is_separate = max(self.new) < min(self.old) or max(self.old) < min(self.new)
        if not is_separate or 1 - TOLERANCE <= median <= 1 + TOLERANCE:
            return "no change"
        return "regression" if median < 1 else "improvement"


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[System]:
    """Yield Prism of `revision`, checked out into a temporary worktree with the same packages.

    Raise RevisionError if git does not know the revision.
    """
    commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    folder = CACHE / "worktrees" / commit[:10]
    if folder.exists():  # left by an interrupted run
        _git("worktree", "remove", "--force", str(folder))
    _git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield replace(PRISM, name=f"prism@{commit[:10]}", root=folder)
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> str:
    result = run_git(*arguments)
    if result.returncode:
        reason = result.stderr.strip() or "git does not know this revision"
        raise RevisionError(f"git {' '.join(arguments)}: {reason}")
    return result.stdout.strip()


def compare(scenario: Scenario, base: System, options: Options, log: Log) -> list[Change]:
    """Measure this checkout and `base` alternately; return no changes if that is not possible."""
    paired = with_systems(scenario, (PRISM, base))
    if paired is None:
        log(f"{scenario.name} measures this checkout alone and is left out")
        return []
    return pair(paired.run(options, log).figures, base.name)


def pair(figures: Sequence[Figure], base: str) -> list[Change]:
    """Return the changes between the figures of Prism and those of the system `base`."""
    old = {(one.scenario, one.unit, one.label): one.values for one in figures}
    changes = []
    for figure in figures:
        name, comma, rest = figure.label.partition(",")
        key = (figure.scenario, figure.unit, base + comma + rest)
        if name == PRISM.name and figure.values and old.get(key):
            changes.append(
                Change(figure.scenario + comma + rest, figure.unit, figure.values, old[key])
            )
    return changes


def render(changes: Sequence[Change], revision: str) -> str:
    """Return the changes as a Markdown table."""
    lines = [
        f"| scenario | unit | {revision}, median | this checkout, median "
        "| ratio, min | median | max | verdict |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for change in changes:
        before, after = spread(change.old).median, spread(change.new).median
        share = spread(change.speedups)
        lines.append(
            f"| {change.scenario} | {change.unit} | {before:.4g} | {after:.4g} "
            f"| {share.low:.2f} | {share.median:.2f} | {share.high:.2f} | {change.verdict} |"
        )
    return "\n".join([*lines, "", "Ratios above 1: this checkout is better."])
