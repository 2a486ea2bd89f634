"""Scenarios without load: cold start and memory of an idle server."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.serving import systems
from benchmarks.serving.assets import ModelName, image_files, model_folder
from benchmarks.serving.machine import session_memory
from benchmarks.serving.measurement import Options
from benchmarks.serving.results import Figure, at_least, at_most
from benchmarks.serving.servers import serve
from benchmarks.serving.stats import ratios
from benchmarks.serving.systems import System

_MODEL: ModelName = "mnist-cnn"
_SETTLE_TIME = 2.0  # seconds until a server is idle


@dataclass(frozen=True)
class ColdStart:
    """The time from the start of the process to the first classification, with bytecode."""

    name: str
    title: str
    systems: tuple[System, ...] = (systems.PRISM, systems.TUTORIAL)

    def run(self, options: Options, log: Callable[[str], None]) -> list[Figure]:
        """Measure each round, after one start that is not counted."""
        selected = [one for one in self.systems if options.includes(one.name)]
        durations: dict[str, list[float]] = {one.name: [] for one in selected}
        image = image_files("digit")[0]
        for number in range(options.rounds + 1):
            for one in selected:
                with serve(one, model_folder(_MODEL), image) as server:
                    durations[one.name].append(server.startup)
                log(f"{self.name} {number}: {one.name} {server.startup:.2f} s")
        figures = [Figure(self.title, name, "s", values[1:]) for name, values in durations.items()]
        if len(figures) == len(self.systems):
            prism, tutorial = (figure.values for figure in figures)
            speedups = ratios(tutorial, prism)
            figures.append(Figure(self.title, "tutorial / prism", "", speedups, at_least(4)))
        return figures


@dataclass(frozen=True)
class IdleMemory:
    """The memory of all processes of an idle server with the bundled model."""

    name: str
    title: str
    systems: tuple[System, ...] = (systems.PRISM, *systems.PEERS)

    def run(self, options: Options, log: Callable[[str], None]) -> list[Figure]:
        """Measure each round."""
        selected = [one for one in self.systems if options.includes(one.name) and one.is_installed]
        sizes: dict[str, list[float]] = {one.name: [] for one in selected}
        image = image_files("digit")[0]
        for number in range(options.rounds):
            for one in selected:
                with serve(one, model_folder(_MODEL), image) as server:
                    time.sleep(_SETTLE_TIME)
                    sizes[one.name].append(session_memory(server.pid))
                log(f"{self.name} {number + 1}: {one.name} {sizes[one.name][-1]:.0f} MB")
        prism = systems.PRISM.name
        return [
            Figure(self.title, name, "MB", values, at_most(150) if name == prism else None)
            for name, values in sizes.items()
        ]
