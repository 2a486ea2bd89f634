"""More requests than can be answered, by a schedule that does not wait for the server."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.serving import models, systems
from benchmarks.serving.assets import Kind, pictures
from benchmarks.serving.load_generator import Job, Outcome, from_json
from benchmarks.serving.machine import cores
from benchmarks.serving.measurement import Options, finish, load, start
from benchmarks.serving.metrics import Figure, at_least, at_most
from benchmarks.serving.servers import Server, serve
from benchmarks.serving.systems import Contender

_CONNECTIONS = 800  # at most; a server of default limits has 1,024 open files
_PROBES = 50.0  # looks at /health a second
_LEAD = 2.0  # seconds at least in which the queue fills, uncounted


@dataclass(frozen=True)
class Overload:
    """The server on one core and the generator on another: how much work is lost, who waits."""

    name: str
    title: str
    model: models.Model
    kind: Kind
    factors: tuple[int, ...] = (2, 10)
    clients: int = 16
    systems: tuple[Contender, ...] = (systems.PRISM,)

    def run(self, options: Options, say: Callable[[str], None]) -> list[Figure]:
        """Measure every round: saturated first, then each factor of that rate."""
        saturated: list[float] = []
        runs: dict[int, list[tuple[Outcome, Outcome]]] = {factor: [] for factor in self.factors}
        files = pictures(self.kind)
        for number in range(options.rounds):
            with serve(
                systems.PRISM, models.folder(self.model), files[0], cpus=cores()[:1]
            ) as server:
                job = self._job(server, options)
                saturated.append(load(job).goodput)
                say(f"{self.name} {number + 1}: saturated {saturated[-1]:.1f}/s")
                for factor in self.factors:
                    runs[factor].append(_beside_probe(job, factor * saturated[-1]))
                    say(f"{self.name} {number + 1}: {factor}x {runs[factor][-1][0].statuses}")
        figures = [Figure(self.title, "saturated goodput", "1/s", saturated)]
        for factor, found in runs.items():
            figures += self._figures(factor, found, saturated)
        return figures

    def _job(self, server: Server, options: Options) -> Job:
        return Job(
            port=server.port,
            path=server.contender.path,
            pictures=tuple(map(str, pictures(self.kind))),
            clients=self.clients,
            warm=max(options.warm, _LEAD),
            seconds=options.seconds,
            cpus=cores()[1:2],
        )

    def _figures(
        self, factor: int, found: list[tuple[Outcome, Outcome]], saturated: list[float]
    ) -> list[Figure]:
        kept = [flood.goodput / base for (flood, _), base in zip(found, saturated, strict=True)]
        refused = [flood.rejected.p99 for flood, _ in found]
        health = [probe.accepted.p99 for _, probe in found]
        late = max(flood.late for flood, _ in found)
        answers = f"generator late {late:.1%}, answers {_statuses(found)}"
        return [
            Figure(self.title, f"{factor}x, goodput / saturated", "", kept, at_least(0.9), answers),
            Figure(self.title, f"{factor}x, rejections p99", "ms", refused, at_most(50)),
            Figure(self.title, f"{factor}x, /health p99", "ms", health, at_most(100)),
        ]


def _beside_probe(job: Job, rate: float) -> tuple[Outcome, Outcome]:
    """An open loop of `rate`, and looks at /health meanwhile on a connection of their own."""
    flood = replace(job, clients=_CONNECTIONS, rate=rate)
    probe = replace(job, path="/health", pictures=(), clients=1, rate=_PROBES)
    processes = [start(flood), start(probe)]
    outcome, health = [from_json(finish(process)) for process in processes]
    return outcome, health


def _statuses(found: list[tuple[Outcome, Outcome]]) -> str:
    total: dict[str, int] = {}
    for flood, _ in found:
        for status, count in flood.statuses.items():
            total[status] = total.get(status, 0) + count
        if flood.unanswered:
            total["none"] = total.get("none", 0) + flood.unanswered
    return ", ".join(f"{count} × {status}" for status, count in sorted(total.items()))
