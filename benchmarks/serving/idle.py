"""Starting a server and leaving it idle: time to the first classification, and memory."""

import time
from dataclasses import dataclass
from subprocess import CalledProcessError

from benchmarks.serving.assets import ModelName, model_folder
from benchmarks.serving.comparison import Comparison
from benchmarks.serving.images import image_files
from benchmarks.serving.machine import session_memory
from benchmarks.serving.measurement import Log, Options
from benchmarks.serving.results import Figure, Measured, Target
from benchmarks.serving.servers import ServerError, serve
from benchmarks.serving.systems import PRISM, System

_MODEL: ModelName = "mnist-cnn"
_SETTLE_TIME = 2.0  # seconds until a server is idle


@dataclass(frozen=True)
class Start:
    """The time from the start of the process to the first classified digit, and the memory then.

    Bytecode exists, because one start is not counted. The memory is that of all processes of the
    idle server, before its first photograph.
    """

    name: str
    title: str
    systems: tuple[System, ...]
    comparisons: tuple[Comparison, ...]
    memory: Target

    def run(self, options: Options, log: Log) -> Measured:
        """Measure each round, after one start that is not counted."""
        selected = [one for one in self.systems if options.includes(one.name) and one.is_installed]
        startups: dict[str, list[float]] = {one.name: [] for one in selected}
        sizes: dict[str, list[float]] = {one.name: [] for one in selected}
        image = image_files("tiny")[0]
        for number in range(options.rounds + 1):
            for one in [system for system in selected if system.name in startups]:
                try:
                    with serve(one, model_folder(_MODEL), image) as server:
                        startups[one.name].append(server.startup)
                        if number:
                            time.sleep(_SETTLE_TIME)
                            sizes[one.name].append(session_memory(server.pid))
                except (ServerError, CalledProcessError, OSError) as error:
                    if one.runtime == "prism":
                        raise
                    log(f"{self.name}: {one.name} failed and is left out: {error}")
                    del startups[one.name], sizes[one.name]
                    continue
                log(f"{self.name} {number}/{options.rounds}: {one.name} {server.startup:.2f} s")
        return Measured(self._figures(selected, startups, sizes))

    def _figures(
        self,
        selected: list[System],
        startups: dict[str, list[float]],
        sizes: dict[str, list[float]],
    ) -> list[Figure]:
        measured = [one for one in selected if one.name in startups]
        counted = {name: values[1:] for name, values in startups.items()}
        figures = [Figure(self.title, name, "s", values) for name, values in counted.items()]
        found = (one.figure(self.title, "latency", measured, counted) for one in self.comparisons)
        figures += [figure for figure in found if figure]
        for name, values in sizes.items():
            target = self.memory if name == PRISM.name else None
            figures.append(Figure(self.title, f"{name}, memory", "MB", values, target))
        return figures
