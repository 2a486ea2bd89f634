"""`model.onnx` of the folder that a peer was given, in ONNX Runtime with its defaults."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.serving.peers.model import FOLDER

Floats = NDArray[np.float32]


class Graph:
    """Maps inputs (N, C, H, W), float32, to probabilities (N, classes)."""

    def __init__(self) -> None:
        self._session: Any = ort.InferenceSession(
            str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        (logits,) = self._session.run(None, {self._input: batch})
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = powers / powers.sum(axis=1, keepdims=True)
        return shares
