"""Ratios of Prism to other systems, computed in each round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.serving.results import Figure, Target
from benchmarks.serving.stats import best_per_round, ratios
from benchmarks.serving.systems import PRISM, System

# A throughput in responses per second, or a duration, of which the least is the best.
Metric = Literal["rate", "latency"]


@dataclass(frozen=True)
class Comparison:
    """The ratio of the system `of` to the system or limit `to`, with its target.

    `to` is the name of a system, `raw`, a runtime (`torch`, `onnx`) for the best peer with this
    runtime, or `peer` for the best of all peers.
    """

    to: str
    target: Target | None = None
    of: str = PRISM.name

    def figure(
        self,
        title: str,
        metric: Metric,
        selected: Sequence[System],
        values: Mapping[str, Sequence[float]],
    ) -> Figure | None:
        """Return the ratio of each round; None if one of both was not measured in all rounds.

        `values` holds one value for each round by the name of the system.
        """
        label, reference = self._reference(metric, selected, values)
        own = values.get(self.of, ())
        if not own or len(own) != len(reference):
            return None
        return Figure(title, f"{self.of} / {label}", "", ratios(own, reference), self.target)

    def _reference(
        self, metric: Metric, selected: Sequence[System], values: Mapping[str, Sequence[float]]
    ) -> tuple[str, Sequence[float]]:
        """Return the label and the values of what is compared with; none if not measured."""
        if self.to in values:
            return self.to, values[self.to]
        runtimes = ("torch", "onnx") if self.to == "peer" else (self.to,)
        rounds = len(values.get(self.of, ()))
        peers = [
            values[one.name]
            for one in selected
            if one.runtime in runtimes and len(values[one.name]) == rounds
        ]
        label = "best peer" if self.to == "peer" else f"best {self.to} peer"
        if not peers:
            return label, ()
        if metric == "latency":
            return label, [min(one) for one in zip(*peers, strict=True)]
        return label, best_per_round(peers)
