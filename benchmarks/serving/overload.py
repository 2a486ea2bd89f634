"""The overload scenario: a fixed schedule of more requests than the server can process."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.serving import systems
from benchmarks.serving.assets import ModelName, model_folder
from benchmarks.serving.images import ImageKind, image_files
from benchmarks.serving.load_generator import Job, Outcome
from benchmarks.serving.machine import available_cores
from benchmarks.serving.measurement import Options, run_load, start_load, wait_for_load
from benchmarks.serving.results import Figure, Measured, at_least, at_most
from benchmarks.serving.servers import serve
from benchmarks.serving.stats import ratios

MAX_CONNECTIONS = 800  # a process may open 1,024 files by default
_PROBE_RATE = 50.0  # requests of /health per second
_MIN_WARMUP = 2.0  # seconds in which the queue fills

Outcomes = list[tuple[Outcome, Outcome]]  # of the load and of the probe, for each round


@dataclass(frozen=True)
class Overload:
    """Goodput and latency of rejections, with server and load generator on separate cores.

    `goodput` is the share of the saturated goodput that is to be kept, by factor of overload.
    """

    name: str
    title: str
    model: ModelName
    kind: ImageKind
    goodput: dict[int, float]
    clients: int = 16

    def run(self, options: Options, log: Callable[[str], None]) -> Measured:
        """Measure each round: the saturated goodput, then a multiple of it for each factor."""
        saturated: list[float] = []
        runs: dict[int, Outcomes] = {factor: [] for factor in self.goodput}
        folder, files = model_folder(self.model), image_files(self.kind)
        for number in range(options.rounds):
            with serve(systems.PRISM, folder, files[0], available_cores()[:1]) as server:
                job = options.job(server, files, self.clients)
                warmup = max(options.warmup, _MIN_WARMUP)
                job = replace(job, warmup=warmup, cpus=available_cores()[1:2])
                saturated.append(run_load(job).goodput)
                log(f"{self.name} {number + 1}: saturated {saturated[-1]:.1f}/s")
                for factor in self.goodput:
                    load, probe = _run_with_probe(job, factor * saturated[-1])
                    runs[factor].append((load, probe))
                    log(f"{self.name} {number + 1}: {factor}x {load.statuses}")
        figures = [Figure(self.title, "saturated goodput", "1/s", saturated)]
        for factor, outcomes in runs.items():
            figures += self._figures(factor, outcomes, saturated)
        return Measured(figures)

    def _figures(self, factor: int, outcomes: Outcomes, saturated: list[float]) -> list[Figure]:
        shares = ratios([load.goodput for load, _ in outcomes], saturated)
        rejections = [load.rejected.p99 for load, _ in outcomes]
        health = [probe.accepted.p99 for _, probe in outcomes]
        late = max(load.late for load, _ in outcomes)
        note = f"generator late {late:.1%}, responses {_format_statuses(outcomes)}"
        target = at_least(self.goodput[factor])
        return [
            Figure(self.title, f"{factor}x, goodput / saturated", "", shares, target, note),
            Figure(self.title, f"{factor}x, rejections p99", "ms", rejections, at_most(50)),
            Figure(self.title, f"{factor}x, /health p99", "ms", health, at_most(100)),
        ]


def _run_with_probe(job: Job, rate: float) -> tuple[Outcome, Outcome]:
    """Run an open loop of `rate`, and request /health meanwhile on a separate connection.

    Return the outcomes of the load and of the probe.
    """
    load = replace(job, clients=MAX_CONNECTIONS, rate=rate)
    probe = replace(job, path="/health", images=(), clients=1, rate=_PROBE_RATE)
    load_process, probe_process = start_load(load), start_load(probe)
    return wait_for_load(load_process), wait_for_load(probe_process)


def _format_statuses(outcomes: Outcomes) -> str:
    total: Counter[str] = Counter()
    for load, _ in outcomes:
        total.update(load.statuses)
        if load.unanswered:
            total["none"] += load.unanswered
    return ", ".join(f"{count} × {status}" for status, count in sorted(total.items()))
