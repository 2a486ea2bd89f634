"""Scenarios of a server that has nothing to do: how soon it answers, and what it takes up."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import contenders, models
from bench.contenders import Contender
from bench.figures import Figure, at_least, at_most
from bench.measure import Options
from bench.memory import proportional_megabytes
from bench.pictures import pictures
from bench.servers import serve
from bench.stats import ratios

_MODEL: models.Model = "mnist-cnn"
_SETTLING = 2.0  # seconds until a server is idle


@dataclass(frozen=True)
class ColdStart:
    """From starting the process to the first picture classified, bytecode present."""

    name: str
    title: str
    contenders: tuple[Contender, ...] = (contenders.PRISM, contenders.TUTORIAL)

    def run(self, options: Options, say: Callable[[str], None]) -> list[Figure]:
        """Measure every round, after one start that nobody counts."""
        found: dict[str, list[float]] = {
            one.name: [] for one in self.contenders if options.wanted(one.name)
        }
        picture = pictures("digit")[0]
        for number in range(options.rounds + 1):
            for one in self.contenders:
                if one.name in found:
                    with serve(one, models.folder(_MODEL), picture) as server:
                        found[one.name].append(server.started)
                    say(f"{self.name} {number}: {one.name} {server.started:.2f} s")
        figures = [Figure(self.title, name, "s", took[1:]) for name, took in found.items()]
        if len(figures) == len(self.contenders):
            prism, tutorial = (figure.values for figure in figures)
            sooner = ratios(tutorial, prism)
            figures.append(Figure(self.title, "tutorial / prism", "", sooner, at_least(4)))
        return figures


@dataclass(frozen=True)
class Memory:
    """What an idle server with the shipped model takes, all its processes together."""

    name: str
    title: str
    contenders: tuple[Contender, ...] = (contenders.PRISM, *contenders.PEERS)

    def run(self, options: Options, say: Callable[[str], None]) -> list[Figure]:
        """Measure every round."""
        found: dict[str, list[float]] = {
            one.name: [] for one in self.contenders if options.wanted(one.name) and one.installed
        }
        picture = pictures("digit")[0]
        for number in range(options.rounds):
            for one in self.contenders:
                if one.name in found:
                    with serve(one, models.folder(_MODEL), picture) as server:
                        time.sleep(_SETTLING)
                        found[one.name].append(proportional_megabytes(server.pid))
                    say(f"{self.name} {number + 1}: {one.name} {found[one.name][-1]:.0f} MB")
        prism = contenders.PRISM.name
        return [
            Figure(self.title, name, "MB", sizes, at_most(150) if name == prism else None)
            for name, sizes in found.items()
        ]
