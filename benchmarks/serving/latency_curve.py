"""Latency under loads below saturation: an open loop at shares of the saturated throughput."""

from dataclasses import dataclass, replace
from subprocess import CalledProcessError

from benchmarks.serving.assets import ModelName, model_folder
from benchmarks.serving.images import ImageKind, image_files
from benchmarks.serving.measurement import Log, Options, run_load, with_prefix
from benchmarks.serving.results import CurvePoint, Measured
from benchmarks.serving.servers import ServerError, serve
from benchmarks.serving.systems import System

_MAX_CONNECTIONS = 400
_SEED = 7  # of the Poisson process; each round adds its number


@dataclass(frozen=True)
class LatencyCurve:
    """Latency quantiles of each system at shares of its own saturated throughput.

    Requests arrive as a Poisson process, and latency starts at the scheduled time, so that waiting
    in a queue counts.
    """

    name: str
    title: str
    model: ModelName
    kind: ImageKind
    systems: tuple[System, ...]
    shares: tuple[float, ...] = (0.5, 0.8, 0.95)
    clients: int = 16

    def run(self, options: Options, log: Log) -> Measured:
        """Measure each round: the saturated throughput of each system, then each share of it."""
        selected = [one for one in self.systems if options.includes(one.name) and one.is_installed]
        points = {
            (one.name, share): CurvePoint(self.title, one.name, share)
            for one in selected
            for share in self.shares
        }
        failed: set[str] = set()
        for number in range(options.rounds):
            for one in selected:
                if one.name in failed:
                    continue
                prefix = f"{self.name} {number + 1}/{options.rounds}: {one.name}"
                try:
                    self._measure(one, number, options, points, with_prefix(log, prefix))
                except (ServerError, CalledProcessError, OSError) as error:
                    if one.runtime == "prism":
                        raise
                    failed.add(one.name)
                    log(f"{prefix} failed and is left out: {error}")
        return Measured([], [one for one in points.values() if one.rates])

    def _measure(
        self,
        one: System,
        number: int,
        options: Options,
        points: dict[tuple[str, float], CurvePoint],
        log: Log,
    ) -> None:
        files = image_files(self.kind)
        with serve(one, model_folder(self.model), files[0]) as server:
            job = options.job(server, files, self.clients)
            limit = run_load(job).rate
            log(f"saturated {limit:.1f}/s")
            for share in self.shares:
                load = replace(
                    job, rate=share * limit, clients=_MAX_CONNECTIONS, seed=_SEED + number
                )
                outcome = run_load(load)
                points[one.name, share].add(share * limit, outcome.accepted, outcome.failures)
                log(f"{share:.0%} p99 {outcome.accepted.p99:.1f} ms")
