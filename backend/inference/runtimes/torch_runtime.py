"""torch, the reference runtime, on a GPU if there is one, else on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backend.inference.errors import ArtifactError, InferenceError, RuntimeMissingError
from backend.inference.models.artifact import Artifact
from backend.inference.types import Floats

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from backend.inference.models import networks
    from backend.inference.models.efficientnet_lite import EfficientNetLite
except ModuleNotFoundError as error:
    raise RuntimeMissingError(
        f"{error.name} is not installed; run `pip install -r requirements_backend.txt`, "
        "or set PRISM_RUNTIME=onnx"
    ) from error


class TorchRuntime:
    """Builds the manifest's architecture and loads `weights.safetensors` strictly."""

    name = "torch"
    concurrent = False

    def __init__(self, artifact: Artifact, *, threads: int | None = None) -> None:
        if artifact.weights is None:
            raise ArtifactError(
                f"{artifact.folder}: no weights.safetensors; set PRISM_RUNTIME=onnx"
            )
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        manifest = artifact.manifest
        network = networks.build(manifest.architecture, len(manifest.labels))
        try:
            tensors = networks.rename_tensors(manifest.architecture, load_file(artifact.weights))
            networks.load_tensors(network, tensors)
        except (RuntimeError, SafetensorError, OSError) as error:
            raise ArtifactError(
                f"{artifact.folder}: {artifact.weights.name} does not fit the architecture "
                f"{manifest.architecture}"
            ) from error
        # Convolutions over several channels are a third faster with channels last, on CPU and GPU.
        shape = manifest.preprocess.input_shape
        is_multichannel = len(shape) == 3 and shape[0] > 1
        self._memory_format = torch.channels_last if is_multichannel else torch.contiguous_format
        self._has_gpu = self._device.type == "cuda"
        dtype = torch.float16 if self._has_gpu else torch.float32
        self.has_features: Final = isinstance(network, EfficientNetLite)
        network = network.eval().to(self._device, dtype)
        self._network = network.to(memory_format=self._memory_format)  # type: ignore[call-overload]

    def __call__(self, batch: Floats) -> Floats:
        """Map inputs (N, *input) to outputs (N, C), in half precision on a GPU."""
        with _forward_pass():
            return _to_numpy(self._network(self._to_device(batch)))

    def features(self, batch: Floats) -> tuple[Floats, Floats]:
        """Map inputs (N, *input) to outputs (N, C) and features (N, D)."""
        assert isinstance(self._network, EfficientNetLite)  # noqa: S101
        with _forward_pass():
            features = self._network.embed(self._to_device(batch))
            return _to_numpy(self._network.classifier(features)), _to_numpy(features)

    def _to_device(self, batch: Floats) -> torch.Tensor:
        rows = torch.from_numpy(batch)
        if self._has_gpu:
            rows = rows.half().pin_memory().to(self._device, non_blocking=True)
        return rows.contiguous(memory_format=self._memory_format)


@contextmanager
def _forward_pass() -> Iterator[None]:
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        raise InferenceError("The model could not be run on this input.") from error


def _to_numpy(values: torch.Tensor) -> Floats:
    result: Floats = values.float().cpu().numpy()
    return result
