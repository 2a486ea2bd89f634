"""Packages a classifier that was trained elsewhere as a model folder."""

import argparse
import hashlib
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from backend.inference.models import artifact, networks, torchvision_compat
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.models.checkpoint import read_state_dict, select_tensors
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess, preprocess
from backend.inference.types import Floats
from calibration.apply import OutputKind
from evaluation.sources import open_source
from training.data import synthetic_handwriting
from training.fit.calibrate_folder import calibrate_folder
from training.package import onnx_import
from training.package.export import describe, export, export_graph
from training.package.model_spec import (
    PRESETS,
    PackageError,
    architecture_spec,
    default_labels,
    read_labels,
    read_spec,
    spec_from_weights,
)
from training.package.onnx_import import OnnxGraph
from training.package.quantization import quantize_folder
from training.package.versions import PREVIOUS, next_version, replace_folder

PROBE_COUNT = 8  # inputs that the runtimes are compared on

CARD = """# {name}

{origin}

Classes: {classes}. Preprocessing: `{preprocess}`.
"""
PARITY = """
Largest difference between PyTorch and ONNX Runtime on {probes} images: {{parity:.1e}}.
"""


def package_network(
    name: str,
    architecture: str,
    tensors: dict[str, Tensor],
    out: Path,
    *,
    labels: tuple[str, ...] | None,
    spec: Preprocess,
    origin: str,
) -> tuple[Artifact, Floats]:
    """Write the model folder `out/name` for an architecture and its weights.

    Return the model and the inputs (N, *input) that both runtimes were compared on.
    Raise PackageError if weights, labels and architecture do not match.
    """
    tensors = networks.rename_tensors(architecture, tensors)
    classes = len(labels) if labels else _count_classes(architecture, tensors)
    network = networks.build(architecture, classes).eval()
    tensors = select_tensors(tensors, network.state_dict())
    _load_weights(network, tensors, architecture)
    labels = labels or default_labels(classes)
    probe = make_probe(spec)
    with torch.inference_mode():
        outputs = network(torch.from_numpy(probe)).shape[1]
    _require_matching_labels(architecture, outputs, labels)
    manifest = _make_manifest(name, architecture, labels, spec, origin)
    card = _make_card(manifest, origin) + PARITY.format(probes=len(probe))
    return export(network, manifest, out / name, probe, card), probe


def package_graph(
    name: str,
    graph: OnnxGraph,
    out: Path,
    *,
    labels: tuple[str, ...] | None,
    spec: Preprocess,
    output: OutputKind | None,
    origin: str,
) -> tuple[Artifact, Floats]:
    """Write the model folder `out/name` for an ONNX classifier; see `package_network`."""
    _require_matching_shape(graph, spec)
    probe = make_probe(spec)
    scores = onnx_import.run_graph(graph, probe)
    labels = labels or default_labels(scores.shape[1])
    _require_matching_labels("the graph", scores.shape[1], labels)
    kind = output or onnx_import.detect_output_kind(scores)
    if kind == "probabilities" and (scores < 0).any():
        raise PackageError("the graph returns negative numbers, which are not probabilities")
    manifest = _make_manifest(name, "onnx", labels, spec, origin)
    manifest = manifest.model_copy(update={"output": kind})
    return export_graph(graph.model, manifest, out / name, _make_card(manifest, origin)), probe


def _make_manifest(
    name: str, architecture: str, labels: tuple[str, ...], spec: Preprocess, origin: str
) -> Manifest:
    return Manifest(
        name=name,
        version="1",
        title=name,
        description=origin,
        architecture=architecture,
        labels=labels,
        preprocess=spec,
        files={},
    )


def _make_card(manifest: Manifest, origin: str) -> str:
    spec = manifest.preprocess.model_dump_json().replace("{", "{{").replace("}", "}}")
    name, classes = manifest.name, len(manifest.labels)
    card = CARD.format(name=name, origin=origin, classes=classes, preprocess=spec)
    return card if manifest.architecture != "onnx" else card.replace("{{", "{").replace("}}", "}")


def _count_classes(architecture: str, tensors: dict[str, Tensor]) -> int:
    """Return the number of classes of a checkpoint: the length of the network's last tensor.

    The order of the checkpoint does not help: safetensors files are sorted by name.
    """
    known = networks.build(architecture).state_dict()
    last = select_tensors(tensors, known).get(list(known)[-1])
    classes = 2 if last is None or not last.ndim else len(last)  # loading reports the error
    if classes < 2:
        raise PackageError(
            "the checkpoint has one output; train a network with one output for each of two or "
            "more classes"
        )
    return classes


def _load_weights(network: nn.Module, tensors: dict[str, Tensor], architecture: str) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        reason = lines[0][:200] if lines else "the tensors differ"
        raise PackageError(f"the checkpoint does not fit {architecture}: {reason}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise PackageError("the checkpoint contains weights that are not finite")


def _require_matching_labels(model: str, outputs: int, labels: tuple[str, ...]) -> None:
    if outputs != len(labels):
        raise PackageError(f"{model} has {outputs} outputs, but {len(labels)} labels were given")


def _require_matching_shape(graph: OnnxGraph, spec: Preprocess) -> None:
    shape = spec.input_shape
    matches = len(shape) == len(graph.shape) and all(
        expected in (None, size) for expected, size in zip(graph.shape, shape, strict=True)
    )
    if not matches:
        raise PackageError(
            f"the graph expects inputs of shape {graph.shape}, but the preprocessing returns "
            f"{shape}; describe the preprocessing in a JSON file and pass it with --preprocess"
        )


def make_probe(spec: Preprocess) -> Floats:
    """Return test inputs (N, *input): synthetic digits, or color gradients for photo models."""
    rng = np.random.default_rng(0)
    images = []
    for digit in range(PROBE_COUNT):
        if isinstance(spec, DigitPreprocess):
            images.append(synthetic_handwriting.draw_digit(digit, rng).convert("RGB"))
        else:
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            images.append(coarse.resize((400, 300), Image.Resampling.BICUBIC))
    return np.stack([preprocess(image, spec) for image in images])


def _verify_checksum(path: Path, expected: str | None) -> str:
    """Return the SHA-256 of a file; raise PackageError if it is missing or not as `expected`."""
    if not path.is_file():
        raise PackageError(f"file not found: {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise PackageError(f"{path} has SHA-256 {digest}, which differs from --sha256")
    return digest


def _load_pretrained(architecture: str) -> tuple[dict[str, Tensor], tuple[str, ...], Preprocess]:
    """Return torchvision's published weights, their labels and their preprocessing."""
    family, _, name = architecture.partition("/")
    if family != "torchvision":
        raise PackageError("--pretrained requires an architecture torchvision/NAME")
    networks.build(architecture)
    weights = torchvision_compat.load("models").get_model_weights(name).DEFAULT
    spec = spec_from_weights(name, weights)
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise PackageError(
            f"the weights could not be downloaded from {weights.url}; check the network "
            "connection, or download the file elsewhere and pass it with --checkpoint"
        ) from error
    return tensors, tuple(weights.meta["categories"]), spec


def package(options: argparse.Namespace) -> list[str]:
    """Package a classifier as the command line describes; return the lines of the report.

    The folder is built in a temporary directory and moved into place when it is complete. An
    earlier version is kept.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    folder = options.out / options.name
    version = next_version(folder, options.version)
    with (
        TemporaryDirectory(dir=options.out, prefix=".packaging-") as temporary,
        ExitStack() as stack,
    ):
        source = options.calibrate and stack.enter_context(open_source(options.calibrate))
        model, probe = _build(options, Path(temporary))
        lines: list[str] = []
        if source:
            model, lines = calibrate_folder(model, source)
        if options.quantize is not None:
            lines += _quantize(model, options.quantize)
        model = replace_folder(folder, model, version)
    kept = folder.parent / PREVIOUS
    note = f"version {version}" + (f"; earlier versions are in {kept}" if kept.exists() else "")
    return [*describe(model, probe), note, *lines]


def quantize_existing(options: argparse.Namespace) -> list[str]:
    """Add a quantized graph to the model folder OUT/NAME; return the lines of the report.

    The folder is replaced when the graph is complete.
    """
    before = artifact.read(options.out / options.name)
    with TemporaryDirectory(dir=options.out, prefix=".packaging-") as temporary:
        copy = Path(shutil.copytree(before.folder, Path(temporary) / options.name))
        lines = _quantize(artifact.read(copy), options.quantize)
        before.folder.rename(Path(temporary) / "before")
        copy.rename(before.folder)
    return lines


def _quantize(model: Artifact, source: str) -> list[str]:
    if not source:
        return quantize_folder(model, None)
    with open_source(Path(source), labeled=False) as images:
        return quantize_folder(model, images)


def _build(options: argparse.Namespace, out: Path) -> tuple[Artifact, Floats]:
    """Return the model folder in `out` and the inputs that it was tested on."""
    labels = read_labels(options.labels) if options.labels else None
    if options.onnx:
        digest = _verify_checksum(options.onnx, options.sha256)
        graph = onnx_import.read_graph(options.onnx)
        preset = options.preprocess or ("imagenet" if graph.channels == 3 else "digit")
        spec = read_spec(preset, graph.side)
        if preset in PRESETS:
            spec = spec.model_copy(update={"layout": graph.layout})
        origin = f"The ONNX classifier `{options.onnx.name}` (SHA-256 `{digest}`)."
        return package_graph(
            options.name, graph, out, labels=labels, spec=spec, output=options.output, origin=origin
        )
    if options.pretrained:
        tensors, published_labels, spec = _load_pretrained(options.architecture)
        labels = labels or published_labels
        spec = read_spec(options.preprocess) if options.preprocess else spec
        origin = f"The architecture `{options.architecture}` with torchvision's published weights."
    else:
        digest = _verify_checksum(options.checkpoint, options.sha256)
        tensors = read_state_dict(options.checkpoint)
        spec = (
            read_spec(options.preprocess)
            if options.preprocess
            else architecture_spec(options.architecture)
        )
        origin = (
            f"The architecture `{options.architecture}` with the weights of the checkpoint "
            f"`{options.checkpoint.name}` (SHA-256 `{digest}`)."
        )
    return package_network(
        options.name, options.architecture, tensors, out, labels=labels, spec=spec, origin=origin
    )
