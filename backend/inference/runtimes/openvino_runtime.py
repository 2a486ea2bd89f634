"""OpenVINO on the CPU, an optional runtime for the same graphs as ONNX Runtime."""

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from backend.inference.errors import ArtifactError, InferenceError, RuntimeMissingError
from backend.inference.runtimes.onnx_runtime import ACTIVATION_MAP, FEATURES
from backend.inference.runtimes.parts import run_in_parts
from backend.inference.types import Floats
from backend.resources.cpus import cpu_limit

try:
    import openvino
except ModuleNotFoundError as error:
    raise RuntimeMissingError(
        "openvino is not installed; run `pip install -r requirements/openvino.txt`, "
        "or set PRISM_RUNTIME=onnx"
    ) from error


class OpenVinoRuntime:
    """Runs an ONNX graph with one input (N, *input) and a first output (N, C) in float32."""

    name = "openvino"
    concurrent = True

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        processors = max(1, int(cpu_limit()))
        # A stream runs one forward pass at a time: as many are needed as runners may call.
        streams = max(1, processors // threads) if threads else 1
        properties: dict[str, Any] = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * (threads or processors),
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 on some processors
            "ENABLE_CPU_PINNING": False,  # other models and decoding need the processors too
        }
        try:
            core = openvino.Core()
            self._model = core.compile_model(core.read_model(path), "CPU", properties)
        except RuntimeError as error:
            raise ArtifactError(f"{path.parent}: OpenVINO cannot load {path.name}") from error
        names = [output.any_name if output.names else "" for output in self._model.outputs]
        self._map = names.index(ACTIVATION_MAP) if ACTIVATION_MAP in names else None
        self.has_features: Final = FEATURES in names
        self._features = names.index(FEATURES) if self.has_features else 0
        batch_size = self._model.inputs[0].partial_shape[0]
        self._fixed_batch_size = batch_size.get_length() if batch_size.is_static else None
        self._dtype = self._model.inputs[0].element_type.to_dtype()
        self._requests = threading.local()  # a request is not thread-safe

    def __call__(self, batch: Floats) -> Floats:
        """Map inputs (N, *input) to outputs (N, C)."""
        return run_in_parts(self._run, batch, self._fixed_batch_size)[0]

    def activation_maps(self, batch: Floats) -> tuple[Floats, Floats] | None:
        """Map inputs (N, *input) to outputs (N, C) and activation maps (N, h, w).

        A map belongs to the label with the highest output. Return None if the graph has no maps.
        """
        if self._map is None:
            return None
        results = run_in_parts(self._run, batch, self._fixed_batch_size)
        return results[0], results[self._map]

    def features(self, batch: Floats) -> tuple[Floats, Floats]:
        """Map inputs (N, *input) to outputs (N, C) and features (N, D)."""
        results = run_in_parts(self._run, batch, self._fixed_batch_size)
        return results[0], results[self._features]

    def _run(self, batch: Floats) -> list[Floats]:
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._model.create_infer_request()
        try:
            found = request.infer([batch.astype(self._dtype, copy=False)])
        except RuntimeError as error:
            raise InferenceError("The model could not be run on this input.") from error
        # The request reuses its memory, so the results are copied.
        outputs, *others = (np.array(found[each], dtype=np.float32) for each in found)
        return [outputs.reshape(len(batch), -1), *others]
