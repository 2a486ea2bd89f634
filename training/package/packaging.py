"""Make a model folder of a classifier from elsewhere.

    .venv/bin/python -m training.package NAME --architecture torchvision/mobilenet_v2 \\
        --checkpoint FILE --labels FILE --out DIR

Instead of --checkpoint, --pretrained takes torchvision's published weights; instead of both,
--onnx FILE takes any ONNX classifier.
"""

import argparse
import hashlib
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks, torchvision_compat
from backend.inference.models.artifact import NAME_PATTERN, Artifact, Manifest
from backend.inference.models.checkpoint import read_state_dict, without_shared_prefix
from backend.inference.preprocessing.digits import DigitPreprocess
from backend.inference.preprocessing.preprocess import Preprocess, preprocess
from backend.inference.types import Floats
from calibration.fit import CalibrationError
from evaluation.errors import EvaluationError
from evaluation.sources import open_source
from training.data import synthetic_handwriting
from training.fit.calibrate_folder import calibrate_folder
from training.package import onnx_import
from training.package.export import export, export_graph, report
from training.package.labels import LabelsError, default_labels, read_labels
from training.package.onnx_import import ForeignError, Graph
from training.package.preprocessing import PRESETS, SpecError, of_weights, read_spec

PROBES = 8

CARD = """# {name}

{origin}

Classes: {classes}. Pictures are prepared as `{preprocess}`.
"""
PARITY = """
Largest difference between torch and ONNX Runtime on {probes} pictures: {{parity:.1e}}.
"""


class PackageError(Exception):
    """What was given cannot become a model folder; the text says why."""


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
    """Write the folder `out/name` of a network and its weights.

    Returns it and the inputs that it was tried on.
    Raises PackageError where weights, labels and architecture do not fit together.
    """
    classes = len(labels) if labels else _classes(architecture, tensors)
    network = networks.build(architecture, classes).eval()
    tensors = without_shared_prefix(tensors, network.state_dict())
    _load_strictly(network, tensors, architecture)
    labels = labels or default_labels(classes)
    probe = _probe(spec)
    with torch.inference_mode():
        outputs = network(torch.from_numpy(probe)).shape[1]
    if outputs != len(labels):
        raise PackageError(
            f"{architecture} has {outputs} outputs, but there are {len(labels)} labels"
        )
    manifest = _manifest(name, architecture, labels, spec, origin)
    card = _card(manifest, origin) + PARITY.format(probes=len(probe))
    return export(network, manifest, out / name, probe, card), probe


def package_graph(
    name: str,
    graph: Graph,
    out: Path,
    *,
    labels: tuple[str, ...] | None,
    spec: Preprocess,
    output: onnx_import.Output | None,
    origin: str,
) -> tuple[Artifact, Floats]:
    """Write the folder `out/name` of an ONNX classifier; the raises of `package_network`."""
    _require_fit(graph, spec)
    probe = _probe(spec)
    scores = onnx_import.scores(graph, probe)
    labels = labels or default_labels(scores.shape[1])
    if len(labels) != scores.shape[1]:
        raise PackageError(
            f"the graph has {scores.shape[1]} outputs, but there are {len(labels)} labels"
        )
    kind = output or onnx_import.tell_output(scores)
    if kind == "probabilities" and (scores < 0).any():
        raise PackageError("the graph gives negative numbers, which are no probabilities")
    manifest = _manifest(name, "onnx", labels, spec, origin).model_copy(update={"output": kind})
    return export_graph(graph.model, manifest, out / name, _card(manifest, origin)), probe


def _manifest(
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


def _card(manifest: Manifest, origin: str) -> str:
    spec = manifest.preprocess.model_dump_json().replace("{", "{{").replace("}", "}}")
    card = CARD.format(
        name=manifest.name, origin=origin, classes=len(manifest.labels), preprocess=spec
    )
    return card if manifest.architecture != "onnx" else card.replace("{{", "{").replace("}}", "}")


def _classes(architecture: str, tensors: dict[str, Tensor]) -> int:
    """How many classes a checkpoint was trained for: the length of the network's last tensor.

    Its own order does not tell: safetensors are sorted by name.
    """
    known = networks.build(architecture).state_dict()
    last = without_shared_prefix(tensors, known).get(list(known)[-1])
    return 1 if last is None or not last.ndim else len(last)  # 1: loading will say what is wrong


def _load_strictly(network: nn.Module, tensors: dict[str, Tensor], architecture: str) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        reason = lines[0][:200] if lines else "it has other tensors"
        raise PackageError(f"the checkpoint does not fit {architecture}: {reason}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise PackageError("the checkpoint holds weights that are not finite")


def _require_fit(graph: Graph, spec: Preprocess) -> None:
    shape = spec.input_shape
    fits = len(shape) == len(graph.shape) and all(
        wanted in (None, given) for wanted, given in zip(graph.shape, shape, strict=True)
    )
    if not fits:
        raise PackageError(
            f"the graph wants inputs of shape {graph.shape}, but the preprocessing makes {shape}; "
            "describe it in a JSON file and name that with --preprocess"
        )


def _probe(spec: Preprocess) -> Floats:
    """Pictures as inputs, to try a model on: drawn digits, or clouds of color."""
    rng = np.random.default_rng(0)
    pictures = [
        synthetic_handwriting.write(digit, rng)
        if isinstance(spec, DigitPreprocess)
        else _clouds(rng)
        for digit in range(PROBES)
    ]
    return np.stack([preprocess(picture.convert("RGB"), spec) for picture in pictures])


def _clouds(rng: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((400, 300), Image.Resampling.BICUBIC)


def _verify(path: Path, expected: str | None) -> str:
    """The SHA-256 of a file; raises PackageError where it is absent or not the `expected` one."""
    if not path.is_file():
        raise PackageError(f"there is no file {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise PackageError(f"{path} has SHA-256 {digest}, not the one given")
    return digest


def _pretrained(architecture: str) -> tuple[dict[str, Tensor], tuple[str, ...], Preprocess]:
    """Torchvision's published weights of an architecture, their labels and preprocessing."""
    family, _, name = architecture.partition("/")
    if family != "torchvision":
        raise PackageError("--pretrained is for architectures of torchvision/")
    networks.build(architecture)
    weights = torchvision_compat.load("models").get_model_weights(name).DEFAULT
    spec = of_weights(weights)
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise PackageError(
            f"the weights could not be downloaded from {weights.url}; go online, or fetch that "
            "file elsewhere and name it with --checkpoint"
        ) from error
    return tensors, tuple(weights.meta["categories"]), spec


def package(given: argparse.Namespace) -> list[str]:
    """Do what the command line says; returns the lines of the report.

    The folder is made aside and moved into place when it is whole.
    """
    given.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=given.out, prefix=".packaging-") as aside, ExitStack() as stack:
        source = given.calibrate and stack.enter_context(open_source(given.calibrate))
        made, probe = _made(given, Path(aside))
        lines: list[str] = []
        if source:
            made, lines = calibrate_folder(made, source)
        folder = given.out / given.name
        if folder.exists():
            folder.rename(Path(aside) / "before")
        made.folder.rename(folder)
    return [*report(artifact.read(folder), probe), *lines]


def _made(given: argparse.Namespace, out: Path) -> tuple[Artifact, Floats]:
    """The folder in `out`, and the inputs that it was tried on."""
    labels = read_labels(given.labels) if given.labels else None
    if given.onnx:
        digest = _verify(given.onnx, given.sha256)
        graph = onnx_import.read_graph(given.onnx)
        preset = given.preprocess or ("imagenet" if graph.channels == 3 else "digit")
        spec = read_spec(preset, graph.side)
        if preset in PRESETS:
            spec = spec.model_copy(update={"layout": graph.layout})
        origin = f"The ONNX classifier `{given.onnx.name}` (SHA-256 `{digest}`)."
        return package_graph(
            given.name,
            graph,
            out,
            labels=labels,
            spec=spec,
            output=given.output,
            origin=origin,
        )
    if given.pretrained:
        tensors, known, spec = _pretrained(given.architecture)
        labels = labels or known
        spec = read_spec(given.preprocess) if given.preprocess else spec
        origin = f"The architecture `{given.architecture}` with torchvision's published weights."
    else:
        digest = _verify(given.checkpoint, given.sha256)
        tensors = read_state_dict(given.checkpoint)
        own = given.architecture in networks.ARCHITECTURES
        spec = read_spec(given.preprocess or ("digit" if own else "imagenet"))
        origin = (
            f"The architecture `{given.architecture}` with the weights of the checkpoint "
            f"`{given.checkpoint.name}` (SHA-256 `{digest}`)."
        )
    return package_network(
        given.name, given.architecture, tensors, out, labels=labels, spec=spec, origin=origin
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; exit with one line where something does not fit."""
    parser = argparse.ArgumentParser(
        prog="python -m training.package",
        description="Make a model folder of a classifier from elsewhere.",
    )
    parser.add_argument("name", help="of the model; its folder is OUT/NAME")
    ours = ", ".join(sorted(networks.ARCHITECTURES))
    parser.add_argument("--architecture", help=f"torchvision/NAME, or one of ours: {ours}")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="a state dict: .pt, .pth or .safetensors")
    source.add_argument("--pretrained", action="store_true", help="torchvision's own weights")
    source.add_argument("--onnx", type=Path, help="an ONNX classifier instead of an architecture")
    parser.add_argument("--labels", type=Path, help="one label a line, or a JSON list")
    parser.add_argument("--preprocess", help="imagenet, digit, or a JSON file")
    parser.add_argument("--output", choices=["logits", "probabilities"], help="of an ONNX graph")
    parser.add_argument("--sha256", help="that the checkpoint or the ONNX file must have")
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="SOURCE",
        help="labelled pictures that the model did not learn from: a folder of class folders, a "
        "zip of such, a CSV of paths and labels",
    )
    parser.add_argument("--out", type=Path, default=Path("models"), help="default: models")
    given = parser.parse_args(arguments)
    if not re.fullmatch(NAME_PATTERN, given.name):
        parser.error("NAME is made of small letters, digits, dots, dashes and underscores")
    if bool(given.architecture) == bool(given.onnx):
        parser.error("--checkpoint and --pretrained need --architecture; --onnx goes without")
    try:
        print("\n".join(package(given)))
    except (PackageError, ForeignError, SpecError, LabelsError, CalibrationError) as error:
        sys.exit(f"error: {error}")
    except (ArtifactError, EvaluationError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
