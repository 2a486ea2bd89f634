"""Runtimes of a network behind one interface: ONNX Runtime, OpenVINO, torch, a fake for tests."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, TypeGuard, runtime_checkable

from backend.inference.errors import ArtifactError
from backend.inference.models.artifact import INT8, ONNX, Artifact
from backend.inference.types import Floats

RuntimeName = Literal["auto", "onnx", "openvino", "torch"]
Precision = Literal["fp32", "int8"]
PrecisionChoice = Literal["auto", "fp32"]


class Runtime(Protocol):
    """A loaded network."""

    @property
    def name(self) -> str:
        """`onnx`, `openvino` or `torch`."""

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


@runtime_checkable
class FeatureRuntime(Runtime, Protocol):
    """A runtime whose networks may return the features from which the last layer classifies."""

    @property
    def has_features(self) -> bool:
        """Whether `features` may be called."""

    def features(self, batch: Floats) -> tuple[Floats, Floats]:
        """Map inputs (N, *input) to outputs (N, C) and features (N, D), not normalized.

        Raise InferenceError if the forward pass fails.
        """


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way to compute a model's outputs: a runtime, a precision, and how to load it.

    `load(threads=…)` returns the network, as `load` of this module does.
    """

    runtime: str
    precision: Precision
    load: Callable[..., Runtime]


def load(
    artifact: Artifact,
    name: RuntimeName = "auto",
    *,
    threads: int | None = None,
    precision: Precision = "fp32",
) -> Runtime:
    """Load `artifact` into the runtime `name`; `auto` chooses torch on a GPU, else ONNX Runtime.

    A model packaged from ONNX has no network for torch and runs in ONNX Runtime instead. `threads`
    limits the threads of one forward pass (default: the runtime's choice). `int8` loads the
    quantized graph, which torch cannot run. Raise ArtifactError for a damaged or missing network,
    RuntimeMissingError if torch or OpenVINO is not installed.
    """
    if name == "auto":
        name = _choose(artifact)
    if name == "torch" and artifact.weights is None:
        name = "onnx"
    if name == "torch":
        from backend.inference.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(artifact, threads=threads)
    path = artifact.onnx if precision == "fp32" else artifact.int8
    if path is None:
        missing = ONNX if precision == "fp32" else INT8
        raise ArtifactError(f"{artifact.folder}: no {missing}; set PRISM_RUNTIME=torch")
    if name == "openvino":
        from backend.inference.runtimes.openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime(path, threads=threads)
    from backend.inference.runtimes.onnx_runtime import OnnxRuntime

    return OnnxRuntime(path, threads=threads)


def alternatives(
    artifact: Artifact, name: RuntimeName = "auto", precision: PrecisionChoice = "auto"
) -> list[Alternative]:
    """Return what may be faster than `load(artifact, name)` on this machine.

    These are the quantized graph, if the folder has one, unless `precision` is `fp32`; and, if
    `name` is `auto`, OpenVINO, if it is installed. There are none for torch.
    """
    if name == "auto" and _choose(artifact) == "torch":
        return []
    if name == "torch" and artifact.weights is not None:
        return []
    default: Literal["onnx", "openvino"] = "openvino" if name == "openvino" else "onnx"
    candidates = [default]
    if name == "auto" and find_spec("openvino") is not None:
        candidates.append("openvino")
    precisions: list[Precision] = ["fp32"]
    if artifact.int8 is not None and precision == "auto":
        precisions.append("int8")
    return [
        Alternative(runtime, each, partial(load, artifact, runtime, precision=each))
        for runtime in candidates
        for each in precisions
        if (runtime, each) != (default, "fp32")
    ]


def has_features(runtime: Runtime) -> TypeGuard[FeatureRuntime]:
    """Return whether a runtime returns features. Takes 50 µs."""
    return isinstance(runtime, FeatureRuntime) and runtime.has_features


def versions() -> list[str]:
    """Return the names and versions of the installed runtimes."""
    from importlib import metadata  # late: it takes 10 ms of the start

    found = []
    for package in ("onnxruntime", "openvino", "torch"):
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return found


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
