"""ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.types import Floats

_LOG_ERRORS_ONLY = 3
_DTYPES = {"tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class OnnxRuntime:
    """Runs `model.onnx`, a graph with one input (N, *input) and one output (N, C).

    The graph may refer to tensors in other files of its folder; ONNX Runtime refuses other paths.
    """

    name = "onnx"
    concurrent = True

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        # Spinning between batches would take processors from decoding and HTTP.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception class for each status code
            raise ArtifactError(f"{path.parent}: {path.name} is not a valid ONNX graph") from error
        first = self._session.get_inputs()[0]
        self._input = first.name
        self._dtype = _DTYPES.get(first.type, np.float32)
        # Some exporters fix the batch size, mostly at one: such a graph is run in parts.
        is_fixed = bool(first.shape) and isinstance(first.shape[0], int)
        self._fixed_batch_size = first.shape[0] if is_fixed else None
        self._output = self._session.get_outputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        """Map inputs (N, *input) to outputs (N, C)."""
        size = self._fixed_batch_size
        if size is None:
            return self._run(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], -len(batch) % size, axis=0)])
        parts = [self._run(padded[start : start + size]) for start in range(0, len(padded), size)]
        return np.concatenate(parts)[: len(batch)]

    def _run(self, batch: Floats) -> Floats:
        try:
            feed = {self._input: batch.astype(self._dtype, copy=False)}
            (outputs,) = self._session.run([self._output], feed)
        except Exception as error:
            raise InferenceError("The model could not be run on this input.") from error
        return np.asarray(outputs, dtype=np.float32).reshape(len(batch), -1)
