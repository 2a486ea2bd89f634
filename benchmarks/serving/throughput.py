"""Closed-loop scenarios: throughput with many clients, latency with one client."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from subprocess import CalledProcessError

from benchmarks.serving.assets import ModelName, model_folder
from benchmarks.serving.comparison import Comparison, Metric
from benchmarks.serving.images import ImageKind, image_files
from benchmarks.serving.load_generator import Outcome
from benchmarks.serving.machine import package_energy, session_cpu
from benchmarks.serving.measurement import Log, Options, measure_raw_limit, run_load, with_prefix
from benchmarks.serving.raw_limit import RawLimit
from benchmarks.serving.results import CPU_UNIT, Figure, Measured
from benchmarks.serving.servers import ServerError, serve
from benchmarks.serving.stats import spread
from benchmarks.serving.systems import RAW, System

_FAILURES = (ServerError, CalledProcessError, OSError)
UNITS: dict[Metric, str] = {"rate": "1/s", "latency": "ms"}


@dataclass(frozen=True)
class Row:
    """The images of one comparison; `systems` names those that are measured (empty: all)."""

    kind: ImageKind
    title: str
    comparisons: tuple[Comparison, ...] = ()
    systems: frozenset[str] = frozenset()

    def includes(self, system: System) -> bool:
        """Return whether `system` is measured with these images."""
        return not self.systems or system.name in self.systems


@dataclass(frozen=True)
class Run:
    """One measurement of a system: the outcome, CPU seconds and joules per 1,000 images.

    The joules are those of the whole machine, NaN where it does not report them.
    """

    outcome: Outcome
    cpu: float
    energy: float

    def value(self, metric: Metric) -> float:
        """Return responses per second, or the median latency in milliseconds."""
        return self.outcome.rate if metric == "rate" else self.outcome.accepted.p50


@dataclass
class _Rounds:
    """What was measured so far: by title of the row, then by system."""

    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)
    limits: dict[str, list[RawLimit]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # reason by system


@dataclass(frozen=True)
class Throughput:
    """Responses per second of each system, or the median latency, for several kinds of images.

    Each round starts each system once and measures all rows, in a rotating order of the systems.
    A peer that fails twice in a round is left out of the following rounds and all comparisons.
    """

    name: str
    model: ModelName
    rows: tuple[Row, ...]
    systems: tuple[System, ...]
    has_raw_limit: bool = False
    clients: int = 16
    metric: Metric = "rate"

    def run(self, options: Options, log: Log) -> Measured:
        """Measure each round: the raw limit first, if requested, then each system."""
        selected = [one for one in self.systems if options.includes(one.name) and one.is_installed]
        for row in self.rows:
            image_files(row.kind)  # created before a server runs
        rounds = _Rounds()
        for number in range(options.rounds):
            prefix = f"{self.name} {number + 1}/{options.rounds}:"
            if self.has_raw_limit and options.includes(RAW):
                for row in self.rows:
                    limit = self._measure_limit(row, options)
                    rounds.limits.setdefault(row.title, []).append(limit)
                    log(f"{prefix} raw, {row.kind} {self._limit_value(limit):.1f} {self.unit}")
            first = number % max(1, len(selected))
            for one in [*selected[first:], *selected[:first]]:
                if one.name not in rounds.failed:
                    self._measure(one, options, rounds, with_prefix(log, prefix))
        return Measured(self._figures(selected, rounds))

    @property
    def unit(self) -> str:
        """Return the unit of the metric."""
        return UNITS[self.metric]

    def _measure(self, one: System, options: Options, rounds: _Rounds, log: Log) -> None:
        rows = [row for row in self.rows if row.includes(one)]
        try:
            measured = self._measure_system(one, rows, options)
        except _FAILURES as error:
            log(f"{one.name} failed and is started again: {error}")
            try:
                measured = self._measure_system(one, rows, options)
            except _FAILURES as again:
                if one.runtime == "prism":
                    raise
                rounds.failed[one.name] = str(again)
                log(f"{one.name} failed twice and is left out: {again}")
                return
        for row, run in zip(rows, measured, strict=True):
            rounds.runs.setdefault(row.title, {}).setdefault(one.name, []).append(run)
            log(f"{one.name}, {row.kind} {run.value(self.metric):.1f} {self.unit}")

    def _measure_limit(self, row: Row, options: Options) -> RawLimit:
        folder, files = model_folder(self.model), image_files(row.kind)
        is_latency = self.metric == "latency"
        return measure_raw_limit(folder, files, options.seconds, sequential_only=is_latency)

    def _measure_system(self, one: System, rows: Sequence[Row], options: Options) -> list[Run]:
        """Return the measurement of each row, by one server."""
        runs = []
        with serve(one, model_folder(self.model), image_files(rows[0].kind)[0]) as server:
            for row in rows:
                cpu, energy = session_cpu(server.pid), package_energy()
                outcome = run_load(options.job(server, image_files(row.kind), self.clients))
                thousands = outcome.total / 1000 or math.nan
                cpu, energy = session_cpu(server.pid) - cpu, package_energy() - energy
                runs.append(Run(outcome, cpu / thousands, energy / thousands))
        return runs

    def _limit_value(self, limit: RawLimit) -> float:
        return limit.rate if self.metric == "rate" else limit.latency_ms

    def _figures(self, selected: Sequence[System], rounds: _Rounds) -> list[Figure]:
        figures = []
        for row in self.rows:
            title, measured = row.title, rounds.runs.get(row.title, {})
            values = {
                one.name: [run.value(self.metric) for run in measured.get(one.name, ())]
                for one in selected
            }
            for name in rounds.failed:
                values[name] = []
            if limits := rounds.limits.get(title):
                fastest = Counter(limit.best for limit in limits).most_common(1)[0][0]
                values[RAW] = [self._limit_value(limit) for limit in limits]
                figures.append(Figure(title, RAW, self.unit, values[RAW], note=fastest))
            for one in selected:
                if not row.includes(one):
                    continue
                runs = [] if one.name in rounds.failed else measured.get(one.name, [])
                note = _note(runs) if runs else "failed"
                figures.append(Figure(title, one.name, self.unit, values[one.name], note=note))
                if runs:
                    figures.append(_cpu_figure(title, one, runs))
            found = [
                comparison.figure(title, self.metric, selected, values)
                for comparison in row.comparisons
            ]
            figures += [figure for figure in found if figure]
        return figures


def _cpu_figure(title: str, system: System, runs: Sequence[Run]) -> Figure:
    energy = spread([run.energy for run in runs]).median
    note = "" if math.isnan(energy) else f"{energy:.1f} J measured for the whole machine"
    return Figure(title, system.name, CPU_UNIT, [run.cpu for run in runs], note=note)


def _note(runs: Sequence[Run]) -> str:
    """Return the 99th percentile of the latency, the load generator's CPU time, and failures."""
    outcomes = [run.outcome for run in runs]
    cpu = spread([one.cpu_ms for one in outcomes]).median
    p99 = spread([one.accepted.p99 for one in outcomes]).median
    failures: Counter[str] = Counter()
    for one in outcomes:
        failures.update(one.failures)
    counts = "".join(f", {count} × {status}" for status, count in sorted(failures.items()))
    return f"p99 {p99:.0f} ms, generator {cpu:.2f} ms/request{counts}"
