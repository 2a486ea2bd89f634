"""What runs the network: ONNX Runtime, torch, or a fake for tests, behind one small interface."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from backend.inference.errors import ArtifactError
from backend.inference.models.artifact import Artifact
from backend.inference.types import Floats

RuntimeName = Literal["auto", "onnx", "torch"]


class Runtime(Protocol):
    """A loaded network."""

    @property
    def name(self) -> str:
        """What `GET /models` shows: `onnx` or `torch`."""

    @property
    def concurrent(self) -> bool:
        """Whether several threads gain from calling it at a time; else one at a time does."""

    def __call__(self, batch: Floats) -> Floats:
        """Inputs of shape (N, *input), float32 -> outputs of shape (N, C), float32.

        Raises InferenceError where the forward pass fails.
        """


def load(artifact: Artifact, name: RuntimeName = "auto", *, threads: int | None = None) -> Runtime:
    """Load `artifact` into the runtime `name`, which `auto` chooses by what is here.

    A model that came as ONNX has no network for torch and runs in ONNX Runtime all the same.
    `threads` bounds the threads of one forward pass (default: the runtime's own choice). Raises
    ArtifactError for a damaged network and RuntimeMissingError where torch is not installed.
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
    """Torch on a GPU, else ONNX Runtime: it is faster on a CPU and ten times quicker to import."""
    if artifact.onnx is None:
        return "torch"
    if artifact.weights is None or not _gpu():
        return "onnx"
    return "torch"


def _gpu() -> bool:
    # torch takes seconds to import, so it is asked only where there is a device to ask about.
    if not Path("/dev/nvidiactl").exists() or find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
