"""Runtimes of a network behind one interface: ONNX Runtime, torch, and a fake for tests."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from backend.inference.errors import ArtifactError
from backend.inference.models.artifact import Artifact
from backend.inference.types import Floats

RuntimeName = Literal["auto", "onnx", "torch"]


class Runtime(Protocol):
    """A loaded network."""

    @property
    def name(self) -> str:
        """`onnx` or `torch`."""

    @property
    def concurrent(self) -> bool:
        """Whether concurrent calls from several threads increase throughput."""

    def __call__(self, batch: Floats) -> Floats:
        """Map inputs of shape (N, *input), float32, to outputs of shape (N, C), float32.

        Raise InferenceError if the forward pass fails.
        """


@runtime_checkable
class MappingRuntime(Runtime, Protocol):
    """A runtime whose networks may have class activation maps."""

    def activation_maps(self, batch: Floats) -> tuple[Floats, Floats] | None:
        """Map inputs (N, *input) to outputs (N, C) and activation maps (N, h, w).

        A map belongs to the label with the highest output. Return None if the network has no maps.
        Raise InferenceError if the forward pass fails.
        """


def load(artifact: Artifact, name: RuntimeName = "auto", *, threads: int | None = None) -> Runtime:
    """Load `artifact` into the runtime `name`; `auto` chooses the fastest available one.

    A model packaged from ONNX has no network for torch and always runs in ONNX Runtime. `threads`
    limits the threads of one forward pass (default: the runtime's choice). Raise ArtifactError for
    a damaged network, RuntimeMissingError if torch is not installed.
    """
    if name == "auto":
        name = _choose(artifact)
    if name == "torch" and artifact.weights is None:
        name = "onnx"
    if name == "onnx":
        from backend.inference.runtimes.onnx_runtime import OnnxRuntime

        if artifact.onnx is None:
            raise ArtifactError(f"{artifact.folder}: no model.onnx; set PRISM_RUNTIME=torch")
        return OnnxRuntime(artifact.onnx, threads=threads)
    from backend.inference.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(artifact, threads=threads)


def _choose(artifact: Artifact) -> Literal["onnx", "torch"]:
    """Return torch on a GPU, else ONNX Runtime: faster on a CPU, and it imports 10x faster."""
    if artifact.onnx is None:
        return "torch"
    if artifact.weights is None or not _has_gpu():
        return "onnx"
    return "torch"


def _has_gpu() -> bool:
    # torch takes seconds to import, so check for a device first.
    if not Path("/dev/nvidiactl").exists() or find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
