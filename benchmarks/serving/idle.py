"""Scenarios of a server that has nothing to do: how soon it answers, and what it takes up."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.serving import models, systems
from benchmarks.serving.assets import pictures
from benchmarks.serving.measurement import Options
from benchmarks.serving.memory import proportional_megabytes
from benchmarks.serving.metrics import Figure, at_least, at_most
from benchmarks.serving.servers import serve
from benchmarks.serving.stats import ratios
from benchmarks.serving.systems import Contender

_MODEL: models.Model = "mnist-cnn"
_SETTLING = 2.0  # seconds until a server is idle


@dataclass(frozen=True)
class ColdStart:
    """From starting the process to the first picture classified, bytecode present."""

    name: str
    title: str
    systems: tuple[Contender, ...] = (systems.PRISM, systems.TUTORIAL)

    def run(self, options: Options, say: Callable[[str], None]) -> list[Figure]:
        """Measure every round, after one start that nobody counts."""
        found: dict[str, list[float]] = {
            one.name: [] for one in self.systems if options.wanted(one.name)
        }
        picture = pictures("digit")[0]
        for number in range(options.rounds + 1):
            for one in self.systems:
                if one.name in found:
                    with serve(one, models.folder(_MODEL), picture) as server:
                        found[one.name].append(server.started)
                    say(f"{self.name} {number}: {one.name} {server.started:.2f} s")
        figures = [Figure(self.title, name, "s", took[1:]) for name, took in found.items()]
        if len(figures) == len(self.systems):
            prism, tutorial = (figure.values for figure in figures)
            sooner = ratios(tutorial, prism)
            figures.append(Figure(self.title, "tutorial / prism", "", sooner, at_least(4)))
        return figures


@dataclass(frozen=True)
class Memory:
    """What an idle server with the shipped model takes, all its processes together."""

    name: str
    title: str
    systems: tuple[Contender, ...] = (systems.PRISM, *systems.PEERS)

    def run(self, options: Options, say: Callable[[str], None]) -> list[Figure]:
        """Measure every round."""
        found: dict[str, list[float]] = {
            one.name: [] for one in self.systems if options.wanted(one.name) and one.installed
        }
        picture = pictures("digit")[0]
        for number in range(options.rounds):
            for one in self.systems:
                if one.name in found:
                    with serve(one, models.folder(_MODEL), picture) as server:
                        time.sleep(_SETTLING)
                        found[one.name].append(proportional_megabytes(server.pid))
                    say(f"{self.name} {number + 1}: {one.name} {found[one.name][-1]:.0f} MB")
        prism = systems.PRISM.name
        return [
            Figure(self.title, name, "MB", sizes, at_most(150) if name == prism else None)
            for name, sizes in found.items()
        ]
