"""Scenarios of a closed loop: many clients that wait, or a single one."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.serving import models, systems
from benchmarks.serving.assets import Kind, pictures
from benchmarks.serving.load_generator import Job, Outcome
from benchmarks.serving.measurement import Options, load, raw_limit
from benchmarks.serving.metrics import Figure, Target, at_most
from benchmarks.serving.raw_limit import Limit
from benchmarks.serving.servers import serve
from benchmarks.serving.stats import best, ratios, spread
from benchmarks.serving.systems import RAW, Contender

Say = Callable[[str], None]


@dataclass(frozen=True)
class Throughput:
    """Requests a second of everybody, in turn, round by round.

    `targets` bounds Prism's share of the raw limit (`raw`), of the best peer with a runtime
    (`torch`, `onnx`), of the best of all peers (`peer`), or of the contender so called.
    """

    name: str
    title: str
    model: models.Model
    kind: Kind
    systems: tuple[Contender, ...]
    targets: dict[str, Target | None]
    raw: bool = False
    clients: int = 16

    def run(self, options: Options, say: Say) -> list[Figure]:
        """Measure every round; the raw limit takes its turn like a server."""
        taking_part = [one for one in self.systems if options.wanted(one.name) and one.installed]
        runs: dict[str, list[Outcome]] = {one.name: [] for one in taking_part}
        limits: list[Limit] = []
        for number in range(options.rounds):
            if self.raw and options.wanted(RAW):
                limits.append(self._limit(options))
                say(f"{self.name} {number + 1}: raw {limits[-1].rate:.1f}/s")
            for one in taking_part:
                outcome = self._outcome(one, options)
                runs[one.name].append(outcome)
                say(f"{self.name} {number + 1}: {one.name} {outcome.rate:.1f}/s")
        return self._figures(taking_part, runs, limits)

    def _limit(self, options: Options) -> Limit:
        return raw_limit(models.folder(self.model), pictures(self.kind), options.seconds)

    def _outcome(self, one: Contender, options: Options) -> Outcome:
        files = pictures(self.kind)
        with serve(one, models.folder(self.model), files[0]) as server:
            return load(
                Job(
                    port=server.port,
                    path=one.path,
                    pictures=tuple(map(str, files)),
                    clients=self.clients,
                    warm=options.warm,
                    seconds=options.seconds,
                )
            )

    def _figures(
        self,
        taking_part: Sequence[Contender],
        runs: dict[str, list[Outcome]],
        limits: Sequence[Limit],
    ) -> list[Figure]:
        figures = []
        rates = {name: [run.rate for run in found] for name, found in runs.items()}
        if limits:
            won = Counter(limit.best for limit in limits).most_common(1)[0][0]
            rates[RAW] = [limit.rate for limit in limits]
            figures.append(Figure(self.title, RAW, "1/s", rates[RAW], note=won))
        for name, found in runs.items():
            figures.append(Figure(self.title, name, "1/s", rates[name], note=_note(found)))
        for against, target in self.targets.items():
            divisor = _divisor(against, taking_part, rates)
            if systems.PRISM.name in rates and divisor is not None:
                label, values = divisor
                share = ratios(rates[systems.PRISM.name], values)
                figures.append(Figure(self.title, f"prism / {label}", "", share, target))
        return figures


def _divisor(
    against: str, taking_part: Sequence[Contender], rates: dict[str, list[float]]
) -> tuple[str, list[float]] | None:
    """Whom Prism is compared with, and the rates round by round; None where nobody took part."""
    if against in rates:
        return against, rates[against]
    runtimes = ("torch", "onnx") if against == "peer" else (against,)
    peers = [rates[one.name] for one in taking_part if one.runtime in runtimes]
    if not peers:
        return None
    return f"best {against} peer".replace("peer peer", "peer"), best(peers)


def _note(runs: Sequence[Outcome]) -> str:
    """The generator's own work, the slowest answers, and answers other than 200."""
    cpu = spread([run.cpu_ms for run in runs]).median
    p99 = spread([run.accepted.p99 for run in runs]).median
    failures: Counter[str] = Counter()
    for run in runs:
        failures.update(run.failures)
    told = "".join(f", {count} × {status}" for status, count in sorted(failures.items()))
    return f"p99 {p99:.0f} ms, generator {cpu:.2f} ms/request{told}"


@dataclass(frozen=True)
class Single:
    """The latency of a single client, against the same work with no server around it."""

    name: str
    title: str
    model: models.Model
    kind: Kind
    target: Target = field(default_factory=lambda: at_most(1.1))
    systems: tuple[Contender, ...] = (systems.PRISM,)

    def run(self, options: Options, say: Say) -> list[Figure]:
        """Measure every round."""
        folder, files = models.folder(self.model), pictures(self.kind)
        bare: list[float] = []
        served: list[float] = []
        for number in range(options.rounds):
            bare.append(raw_limit(folder, files, options.seconds, bare=True).bare_ms)
            with serve(systems.PRISM, folder, files[0]) as server:
                outcome = load(
                    Job(
                        port=server.port,
                        path=systems.PRISM.path,
                        pictures=tuple(map(str, files)),
                        warm=options.warm,
                        seconds=options.seconds,
                    )
                )
            served.append(outcome.accepted.p50)
            say(f"{self.name} {number + 1}: bare {bare[-1]:.1f} ms, prism {served[-1]:.1f} ms")
        return [
            Figure(self.title, "bare, median", "ms", bare),
            Figure(self.title, "prism, median", "ms", served),
            Figure(self.title, "prism / bare", "", ratios(served, bare), self.target),
        ]
