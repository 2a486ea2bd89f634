"""Comparison of a fine-tuned network with a head on the features of the original one."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backend.inference.types import Floats
from evaluation.compare import mcnemar
from evaluation.intervals import Interval, paired_difference, wilson

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """Numbers of held-out images that both, only one, or neither of the models classify right."""

    both: int
    only_network: int
    only_head: int
    neither: int

    @classmethod
    def of(cls, truth: NDArray[np.intp], network: Floats, head: Floats) -> Self:
        """Compare the logits (N, C) of both models for images with the class indices (N,)."""
        is_right, is_head_right = network.argmax(1) == truth, head.argmax(1) == truth
        return cls(
            both=int((is_right & is_head_right).sum()),
            only_network=int((is_right & ~is_head_right).sum()),
            only_head=int((~is_right & is_head_right).sum()),
            neither=int((~is_right & ~is_head_right).sum()),
        )

    @property
    def total(self) -> int:
        """Number of images."""
        return self.both + self.only_network + self.only_head + self.neither

    @property
    def accuracy(self) -> float:
        """Accuracy of the fine-tuned network."""
        return (self.both + self.only_network) / self.total

    @property
    def head_accuracy(self) -> float:
        """Accuracy of the head."""
        return (self.both + self.only_head) / self.total

    @property
    def p_value(self) -> float:
        """The exact two-sided p-value of McNemar's test."""
        return mcnemar(self.only_head, self.only_network)

    def lines(self) -> list[str]:
        """Return the lines of a report."""
        interval = paired_difference(self.only_head, self.only_network, self.total)
        difference = _percent(self.accuracy - self.head_accuracy, interval, "+")
        if self.p_value >= SIGNIFICANCE:
            verdict = "the difference may be chance: a head is smaller and trained in seconds"
        elif self.only_network > self.only_head:
            verdict = "fine-tuning is better"
        else:
            verdict = "the head is better: use it, or train for fewer epochs at a lower rate"
        return [
            self._describe("fine-tuned network", self.both + self.only_network),
            self._describe("head on the original features", self.both + self.only_head),
            f"difference: {difference}; only the network is right for {self.only_network}, "
            f"only the head for {self.only_head} images (McNemar's test, p = {self.p_value:.2g}); "
            f"{verdict}",
        ]

    def _describe(self, model: str, right: int) -> str:
        share = _percent(right / self.total, wilson(right, self.total))
        return f"{model}: accuracy {share}, {right} of {self.total} images"


def _percent(share: float, interval: Interval, sign: str = "") -> str:
    low, high = interval.low, interval.high
    return f"{share:{sign}.1%} (95% interval: {low:{sign}.1%} to {high:{sign}.1%})"
