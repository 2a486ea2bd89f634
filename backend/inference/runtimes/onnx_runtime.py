"""ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.types import Floats

_WARNINGS_OFF = 3


class OnnxRuntime:
    """Runs `model.onnx`, a graph with one input (N, *input) and one output (N, C)."""

    name = "onnx"

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = _WARNINGS_OFF
        # Threads that spin between batches take the cores that decoding and HTTP need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class for each of its status codes
            raise ArtifactError(f"{path.parent}: {path.name} is not a valid ONNX graph") from error
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        """Inputs (N, *input) -> outputs (N, C)."""
        try:
            (outputs,) = self._session.run([self._output], {self._input: batch})
        except Exception as error:
            raise InferenceError("The model could not be run on this input.") from error
        return np.asarray(outputs, dtype=np.float32)
