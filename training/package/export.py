"""Writes model folders: weights, ONNX graph, manifest and model card."""

import statistics
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from backend.inference import runtimes
from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats
from calibration.sigmoid import ProbabilityMap
from training.package import external_weights
from training.package.activation_map import add_activation_map
from training.package.features import add_features
from training.package.model_spec import PackageError

# Largest difference between PyTorch and ONNX Runtime, relative to max(1, largest output).
MAX_PARITY_GAP = 1e-4
_TIMED_RUNS = 10


def export(
    net: nn.Module,
    manifest: Manifest,
    folder: Path,
    probe: Floats,
    card: str,
    *,
    half_precision: bool = False,
) -> Artifact:
    """Write `net` as the model folder `folder`.

    With `half_precision`, weights of more than one dimension are stored in float16, and once: the
    graph refers to them. Both runtimes compute in float32. `net` receives the rounded weights.
    PyTorch and ONNX Runtime are compared on `probe` (N, *input). The largest difference is stored
    in the manifest's metrics as `onnx_parity` and in the card.
    Raise ArtifactError if it exceeds MAX_PARITY_GAP.
    """
    network = net.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _prepare_folder(folder)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if half_precision:
        tensors = {name: t.half() if t.ndim > 1 else t for name, t in tensors.items()}
        networks.load_tensors(network, tensors)
    save_file(tensors, folder / artifact.WEIGHTS)
    (folder / artifact.WEIGHTS).chmod(0o644)
    _write_onnx(network, manifest.preprocess, folder / artifact.ONNX)
    _add_outputs(folder / artifact.ONNX)
    if half_precision:
        external_weights.share(folder / artifact.ONNX, folder / artifact.WEIGHTS)
    gap = _measure_gap(network, folder / artifact.ONNX, probe)
    manifest = manifest.model_copy(update={"metrics": manifest.metrics | {"onnx_parity": gap}})
    (folder / artifact.CARD).write_text(card.format(parity=gap), encoding="utf-8")
    return artifact.write_manifest(folder, manifest)


def run_network(network: nn.Module, inputs: Floats) -> Floats:
    """Return the outputs (N, C) of a network for `inputs` (N, *input).

    Raise PackageError if it does not accept them, or returns something else than finite scores.
    """
    try:
        with torch.inference_mode():
            outputs = network.eval()(torch.from_numpy(inputs))
    except Exception as error:  # a network raises what its author chose
        raise PackageError(
            f"the network does not accept an input of shape {inputs.shape[1:]}, which the "
            "preprocessing returns; describe the right one in a JSON file and pass it with "
            "--preprocess"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(inputs):
        raise PackageError("the network does not return one row of scores for each image")
    if not bool(torch.isfinite(outputs).all()):
        raise PackageError("the network returns numbers that are not finite")
    found: Floats = outputs.float().numpy()
    return found


def to_graph(network: nn.Module, spec: Preprocess, probe: Floats) -> tuple[onnx.ModelProto, float]:
    """Return a network as an ONNX graph, and its largest difference on `probe` (N, *input).

    Raise ArtifactError if it exceeds MAX_PARITY_GAP, and PackageError if the exporter does not
    support the network.
    """
    run_network(network, probe)
    with TemporaryDirectory() as folder:
        path = Path(folder) / artifact.ONNX
        for write in (_write_onnx, _trace_onnx):
            try:
                write(network.eval(), spec, path)
                return onnx.load(path), _measure_gap(network, path, probe)
            except Exception as error:  # the exporters raise types of their own
                reason = error
    if isinstance(reason, ArtifactError):
        raise reason
    raise PackageError(
        f"the network cannot be exported to ONNX by torch.onnx.export: {type(reason).__name__}; "
        "export it yourself and pass the graph as SOURCE"
    ) from reason


def export_graph(graph: onnx.ModelProto, manifest: Manifest, folder: Path, card: str) -> Artifact:
    """Write an ONNX graph as the model folder `folder`, without PyTorch weights.

    The graph gets the outputs `activation_map` and `features` if its structure allows them.
    """
    _prepare_folder(folder)
    add_activation_map(graph)
    add_features(graph)
    onnx.save(graph, folder / artifact.ONNX)
    (folder / artifact.WEIGHTS).unlink(missing_ok=True)
    (folder / artifact.CARD).write_text(card, encoding="utf-8")
    return artifact.write_manifest(folder, manifest)


def describe(model: Artifact, probe: Floats) -> list[str]:
    """Return a report: size, classes, and each runtime's latency and prediction for `probe`."""
    files = [model.folder / name for name in model.manifest.files]
    size = sum(path.stat().st_size for path in files) / 1e6
    lines = [f"wrote {model.folder} ({size:.1f} MB, {len(model.manifest.labels)} classes)"]
    names: list[runtimes.RuntimeName] = ["onnx", "torch"] if model.weights else ["onnx"]
    for name in names:
        runtime = runtimes.load(model, name)
        first = probe[:1]
        manifest = model.manifest
        to_probabilities = ProbabilityMap(manifest.task, manifest.output, manifest.calibration)
        label = manifest.labels[int(to_probabilities(runtime(first)).argmax())]
        seconds = []
        for _ in range(_TIMED_RUNS):
            started = time.perf_counter()
            runtime(first)
            seconds.append(time.perf_counter() - started)
        latency = f"{statistics.median(seconds) * 1e3:.1f} ms per image"
        lines.append(f"{name}: {latency}; prediction for a test image: {label!r}")
    if "onnx_parity" in model.manifest.metrics:
        gap = model.manifest.metrics["onnx_parity"]
        lines.append(f"PyTorch and ONNX Runtime differ by at most {gap:.1e}")
    else:
        lines.append("no PyTorch weights: the model always runs in ONNX Runtime")
    return lines


def _prepare_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Without a manifest, an incomplete folder is not recognized as a model.
    (folder / artifact.MANIFEST).unlink(missing_ok=True)


def _write_onnx(network: nn.Module, spec: Preprocess, path: Path) -> None:
    example = torch.zeros(2, *spec.input_shape)
    with warnings.catch_warnings(action="ignore"):  # about the exporter's internals
        torch.onnx.export(
            *(network, (example,), path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    graph = onnx.load(path)
    remove_metadata(graph)
    onnx.save(graph, path)


def _trace_onnx(network: nn.Module, spec: Preprocess, path: Path) -> None:
    """Write the graph by torch's older exporter, which accepts some networks that the new does not.

    It records one run, so a graph may be valid for this batch only; the outputs are compared.
    """
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            *(network, (torch.zeros(2, *spec.input_shape),), path),
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )


def _add_outputs(path: Path) -> None:
    graph = onnx.load(path)
    add_activation_map(graph)
    add_features(graph)
    onnx.save(graph, path)


def remove_metadata(model: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces, which contain paths of this machine."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")
    for holder in (model, model.graph, *model.graph.input, *model.graph.output):
        holder.ClearField("metadata_props")


def _measure_gap(network: nn.Module, path: Path, probe: Floats) -> float:
    """Return the largest difference between the runtimes' outputs for `probe`.

    Raise ArtifactError if it exceeds MAX_PARITY_GAP.
    """
    with torch.inference_mode():
        expected = network(torch.from_numpy(probe)).numpy()
    gap = float(np.abs(OnnxRuntime(path)(probe) - expected).max())
    if not gap <= MAX_PARITY_GAP * max(1.0, float(np.abs(expected).max())):
        raise ArtifactError(
            f"PyTorch and ONNX Runtime differ by {gap:.1e} for test images, more than "
            f"{MAX_PARITY_GAP:.0e} of the largest output, so nothing was packaged. Export the "
            "network to ONNX yourself, compare its answers, and pass the graph as SOURCE"
        )
    return gap
