"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.runtimes.parts import run_in_parts
from backend.inference.types import Floats

ACTIVATION_MAP: Final = "activation_map"  # optional output of a graph, shape (N, h, w)
FEATURES: Final = "features"  # optional output, shape (N, D): the input of the last layer

_LOG_ERRORS_ONLY = 3
_DTYPES = {"tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class OnnxRuntime:
    """Runs `model.onnx`, a graph with one input (N, *input) and a first output (N, C).

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
        names = [output.name for output in self._session.get_outputs()]
        self._output = names[0]
        self._has_activation_map = ACTIVATION_MAP in names[1:]
        self.has_features: Final = FEATURES in names[1:]
        # Without this option, ONNX Runtime computes outputs that are not requested.
        self._options = ort.RunOptions()
        self._options.only_execute_path_to_fetches = len(names) > 1

    def __call__(self, batch: Floats) -> Floats:
        """Map inputs (N, *input) to outputs (N, C)."""
        (outputs,) = self._run_in_parts(batch, [self._output])
        return outputs

    def activation_maps(self, batch: Floats) -> tuple[Floats, Floats] | None:
        """Map inputs (N, *input) to outputs (N, C) and activation maps (N, h, w).

        A map belongs to the label with the highest output. Return None if the graph has no maps.
        """
        if not self._has_activation_map:
            return None
        outputs, maps = self._run_in_parts(batch, [self._output, ACTIVATION_MAP])
        return outputs, maps

    def features(self, batch: Floats) -> tuple[Floats, Floats]:
        """Map inputs (N, *input) to outputs (N, C) and features (N, D)."""
        outputs, features = self._run_in_parts(batch, [self._output, FEATURES])
        return outputs, features

    def _run_in_parts(self, batch: Floats, names: list[str]) -> list[Floats]:
        return run_in_parts(lambda part: self._run(part, names), batch, self._fixed_batch_size)

    def _run(self, batch: Floats, names: list[str]) -> list[Floats]:
        try:
            feed = {self._input: batch.astype(self._dtype, copy=False)}
            values = self._session.run(names, feed, self._options)
        except Exception as error:
            raise InferenceError("The model could not be run on this input.") from error
        outputs, *maps = (np.asarray(each, dtype=np.float32) for each in values)
        return [outputs.reshape(len(batch), -1), *maps]
