"""Closed-loop scenarios: throughput with many clients, latency with one client."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.serving import systems
from benchmarks.serving.assets import ImageKind, ModelName, image_files, model_folder
from benchmarks.serving.load_generator import Outcome
from benchmarks.serving.measurement import Options, measure_raw_limit, run_load
from benchmarks.serving.raw_limit import RawLimit
from benchmarks.serving.results import Figure, Target, at_most
from benchmarks.serving.servers import serve
from benchmarks.serving.stats import best_per_round, ratios, spread
from benchmarks.serving.systems import RAW, System

Log = Callable[[str], None]


@dataclass(frozen=True)
class Throughput:
    """Responses per second of each system, measured alternately in each round.

    `targets` bounds the ratio of Prism to the raw limit (`raw`), to the best peer with a runtime
    (`torch`, `onnx`), to the best of all peers (`peer`), or to the system of that name.
    """

    name: str
    title: str
    model: ModelName
    kind: ImageKind
    systems: tuple[System, ...]
    targets: dict[str, Target | None]
    has_raw_limit: bool = False
    clients: int = 16

    def run(self, options: Options, log: Log) -> list[Figure]:
        """Measure each round: the raw limit first, if requested, then each system."""
        selected = [one for one in self.systems if options.includes(one.name) and one.is_installed]
        runs: dict[str, list[Outcome]] = {one.name: [] for one in selected}
        limits: list[RawLimit] = []
        for number in range(options.rounds):
            if self.has_raw_limit and options.includes(RAW):
                limits.append(self._measure_limit(options))
                log(f"{self.name} {number + 1}: raw {limits[-1].rate:.1f}/s")
            for one in selected:
                outcome = self._measure_system(one, options)
                runs[one.name].append(outcome)
                log(f"{self.name} {number + 1}: {one.name} {outcome.rate:.1f}/s")
        return self._figures(selected, runs, limits)

    def _measure_limit(self, options: Options) -> RawLimit:
        return measure_raw_limit(model_folder(self.model), image_files(self.kind), options.seconds)

    def _measure_system(self, system: System, options: Options) -> Outcome:
        files = image_files(self.kind)
        with serve(system, model_folder(self.model), files[0]) as server:
            return run_load(options.job(server, files, self.clients))

    def _figures(
        self, selected: Sequence[System], runs: dict[str, list[Outcome]], limits: Sequence[RawLimit]
    ) -> list[Figure]:
        figures = []
        rates = {name: [run.rate for run in outcomes] for name, outcomes in runs.items()}
        if limits:
            fastest = Counter(limit.best for limit in limits).most_common(1)[0][0]
            rates[RAW] = [limit.rate for limit in limits]
            figures.append(Figure(self.title, RAW, "1/s", rates[RAW], note=fastest))
        for name, outcomes in runs.items():
            figures.append(Figure(self.title, name, "1/s", rates[name], note=_note(outcomes)))
        for reference, target in self.targets.items():
            denominator = _denominator(reference, selected, rates)
            if systems.PRISM.name in rates and denominator is not None:
                label, values = denominator
                shares = ratios(rates[systems.PRISM.name], values)
                figures.append(Figure(self.title, f"prism / {label}", "", shares, target))
        return figures


def _denominator(
    reference: str, selected: Sequence[System], rates: dict[str, list[float]]
) -> tuple[str, list[float]] | None:
    """Return the label and the rates of what Prism is compared with; None if not measured."""
    if reference in rates:
        return reference, rates[reference]
    runtimes = ("torch", "onnx") if reference == "peer" else (reference,)
    if not (peers := [rates[one.name] for one in selected if one.runtime in runtimes]):
        return None
    return f"best {reference} peer".replace("peer peer", "peer"), best_per_round(peers)


def _note(runs: Sequence[Outcome]) -> str:
    """Return the 99th percentile of the latency, the load generator's CPU time, and failures."""
    cpu = spread([run.cpu_ms for run in runs]).median
    p99 = spread([run.accepted.p99 for run in runs]).median
    failures: Counter[str] = Counter()
    for run in runs:
        failures.update(run.failures)
    counts = "".join(f", {count} × {status}" for status, count in sorted(failures.items()))
    return f"p99 {p99:.0f} ms, generator {cpu:.2f} ms/request{counts}"


@dataclass(frozen=True)
class SingleClient:
    """The latency of a single client, compared with the same work without a server."""

    name: str
    title: str
    model: ModelName
    kind: ImageKind
    target: Target = field(default_factory=lambda: at_most(1.1))

    def run(self, options: Options, log: Log) -> list[Figure]:
        """Measure each round."""
        folder, files = model_folder(self.model), image_files(self.kind)
        without_server, prism = list[float](), list[float]()
        for number in range(options.rounds):
            limit = measure_raw_limit(folder, files, options.seconds, sequential_only=True)
            without_server.append(limit.latency_ms)
            with serve(systems.PRISM, folder, files[0]) as server:
                prism.append(run_load(options.job(server, files)).accepted.p50)
            durations = f"without server {without_server[-1]:.1f} ms, prism {prism[-1]:.1f} ms"
            log(f"{self.name} {number + 1}: {durations}")
        overhead = ratios(prism, without_server)
        return [
            Figure(self.title, "without server, median", "ms", without_server),
            Figure(self.title, "prism, median", "ms", prism),
            Figure(self.title, "prism / without server", "", overhead, self.target),
        ]
