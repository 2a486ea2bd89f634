"""A runtime without a model, for tests."""

import threading
from collections.abc import Callable

import numpy as np

from backend.inference.types import Floats


class FakeRuntime:
    """Returns logits whose maximum is at the class `winner(input)` of `classes`.

    Each forward pass waits until `gate` is set, if given, so that a test can fill the queue.
    `batches` records the size of every batch.
    """

    name = "fake"
    concurrent = False

    def __init__(
        self,
        classes: int,
        winner: Callable[[Floats], int] = lambda _: 0,
        gate: threading.Event | None = None,
    ) -> None:
        self.batches: list[int] = []
        self._classes = classes
        self._winner = winner
        self._gate = gate

    def __call__(self, batch: Floats) -> Floats:
        """Map inputs (N, *input) to logits (N, classes)."""
        if self._gate is not None:
            self._gate.wait()
        self.batches.append(len(batch))
        logits = np.zeros((len(batch), self._classes), dtype=np.float32)
        for row, item in zip(logits, batch, strict=True):
            row[self._winner(item)] = 5.0
        return logits
