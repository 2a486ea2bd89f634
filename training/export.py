"""A trained network -> a model folder: safetensors, ONNX checked against torch, manifest, card."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from backend.inference import artifact
from backend.inference.artifact import Artifact, Manifest
from backend.inference.errors import ArtifactError
from backend.inference.preprocess import input_shape
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats

MAX_GAP = 1e-4  # between the outputs of torch and of ONNX Runtime


@dataclass(frozen=True)
class Exported:
    """The folder that was written, and the largest gap between its two runtimes' outputs."""

    artifact: Artifact
    parity: float


def export(
    network: nn.Module, manifest: Manifest, folder: Path, probe: Floats, card: str
) -> Exported:
    """Write `network` as the model folder `folder`, which must not be another model's.

    `probe` (N, *input) is what torch and ONNX Runtime are compared on; the gap goes into the
    manifest's metrics as `onnx_parity`. Raises ArtifactError where it exceeds 1e-4.
    """
    network = network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    folder.mkdir(parents=True, exist_ok=True)
    # Without its manifest a half-written folder is not taken for a model.
    (folder / artifact.MANIFEST).unlink(missing_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / artifact.WEIGHTS)
    (folder / artifact.WEIGHTS).chmod(0o644)
    _write_onnx(network, manifest, folder / artifact.ONNX)
    gap = _gap(network, folder / artifact.ONNX, probe)
    if gap > MAX_GAP:
        raise ArtifactError(f"{folder}: torch and ONNX Runtime differ by {gap:.1e}")
    manifest = manifest.model_copy(update={"metrics": manifest.metrics | {"onnx_parity": gap}})
    (folder / artifact.CARD).write_text(card.format(parity=gap), encoding="utf-8")
    return Exported(artifact.write_manifest(folder, manifest), gap)


def _write_onnx(network: nn.Module, manifest: Manifest, path: Path) -> None:
    example = torch.zeros(2, *input_shape(manifest.preprocess))
    with warnings.catch_warnings(action="ignore"):  # the exporter's own, about its internals
        torch.onnx.export(
            network,
            (example,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )


def _gap(network: nn.Module, path: Path, probe: Floats) -> float:
    """Largest absolute difference between the outputs of both runtimes on `probe`."""
    with torch.inference_mode():
        expected = network(torch.from_numpy(probe)).numpy()
    return float(np.abs(OnnxRuntime(path)(probe) - expected).max())
