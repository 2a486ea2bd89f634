"""Packages a classifier that was trained elsewhere as a model folder."""

import argparse
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from torch import nn

from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess, preprocess
from backend.inference.types import Floats
from calibration.apply import Calibration
from calibration.sigmoid import BINARY, MULTI_LABEL, SINGLE_LABEL
from evaluation.sources import open_source
from training.data import synthetic_handwriting
from training.fit.calibrate_folder import calibrate_folder
from training.package import onnx_import, provenance, verification
from training.package.export import describe, export, export_graph, run_network, to_graph
from training.package.imported import ASSUMED, EXPORTED, Imported, with_options
from training.package.kinds.detection import read_source
from training.package.labels import default_labels, shorten
from training.package.model_spec import IMAGENET_CLASSES, PackageError
from training.package.onnx_import import OnnxGraph
from training.package.quantization import quantize_folder
from training.package.task_detection import detect_task
from training.package.versions import PREVIOUS, next_version, replace_folder

MAX_LISTED_LABELS = 10  # in an error message
PROBE_COUNT = 8  # inputs that the runtimes are compared on
BINARY_LABELS = ("negative", "positive")  # unless there are others

CARD = """# {name}

{origin}

Classes: {classes}. Preprocessing: `{preprocess}`.
"""
PARITY = """
Largest difference between PyTorch and ONNX Runtime on {probes} images: {{parity:.1e}}.
"""


def write_folder(name: str, imported: Imported, out: Path) -> tuple[Artifact, Floats]:
    """Write the model folder `out/name` for a classifier whose spec is known.

    Return the model and the inputs (N, *input) that both runtimes were compared on.
    Raise PackageError if the labels, the preprocessing and the classifier do not match.
    """
    spec = imported.require_spec()
    probe = make_probe(spec)
    if isinstance(imported.model, nn.Module) and imported.architecture != EXPORTED:
        scores = run_network(imported.model, probe)
        imported = _check_labels(detect_task(imported, None, scores), scores.shape[1])
        imported = _detect_output(imported, scores)
        manifest = _make_manifest(name, imported)
        card = _make_card(manifest).replace("{", "{{").replace("}", "}}")  # `export` formats it
        card += PARITY.format(probes=len(probe))
        return export(imported.model, manifest, out / name, probe, card), probe
    metrics = {}
    if isinstance(imported.model, nn.Module):
        model, metrics["onnx_parity"] = to_graph(imported.model, spec, probe)
    else:
        model = imported.model
    graph = onnx_import.describe_graph(model)
    _require_matching_shape(graph, spec)
    scores = onnx_import.run_graph(graph, probe)
    imported = _check_labels(detect_task(imported, model, scores), scores.shape[1])
    imported = _detect_output(imported, scores)
    manifest = _make_manifest(name, imported).model_copy(update={"metrics": metrics})
    return export_graph(model, manifest, out / name, _make_card(manifest)), probe


def _detect_output(imported: Imported, scores: Floats) -> Imported:
    output, sources = imported.output, imported.provenance
    if output is None:
        output = onnx_import.detect_output_kind(scores)
        sources = sources | {"output": "detected by running the graph"}
    if output == "probabilities" and (scores < 0).any():
        raise PackageError(
            "the network returns negative numbers, which are not probabilities; pass "
            "--output logits"
        )
    return replace(imported, output=output, provenance=sources)


def _check_labels(imported: Imported, outputs: int) -> Imported:
    """Return `imported` with labels; raise PackageError unless there is one for each output.

    The one output of a binary classifier has two labels.
    """
    labels, sources = imported.labels, imported.provenance
    if imported.task == BINARY:
        if labels is None:
            labels, sources = (
                BINARY_LABELS,
                sources | {"labels": f"{ASSUMED}names of a binary task"},
            )
        if len(labels) != 2:
            raise PackageError(
                f"--task binary requires two labels, that of the output 0 first, but "
                f"{shorten(labels)} were given by {sources.get('labels', 'the file')}"
            )
        return replace(imported, labels=labels, provenance=sources)
    if labels is None:
        labels = default_labels(outputs)
        names = "ImageNet's" if outputs == IMAGENET_CLASSES else "the numbers of the outputs"
        sources = sources | {"labels": f"{ASSUMED}{names}"}
    if outputs != len(labels):
        raise PackageError(
            f"the network has {outputs} outputs, but there are {len(labels)} labels from "
            f"{sources.get('labels', 'the file')}: {', '.join(labels[:MAX_LISTED_LABELS])}"
        )
    return replace(imported, labels=labels, provenance=sources)


def _make_manifest(name: str, imported: Imported) -> Manifest:
    return Manifest(
        name=name,
        version="1",
        title=name,
        description=imported.origin,
        architecture=imported.architecture,
        labels=imported.labels,
        preprocess=imported.spec,
        task=imported.task or SINGLE_LABEL,
        output=imported.output or "logits",
        provenance=imported.provenance,
        files={},
    )


def _make_card(manifest: Manifest) -> str:
    return CARD.format(
        name=manifest.name,
        origin=manifest.description,
        classes=len(manifest.labels),
        preprocess=manifest.preprocess.model_dump_json(),
    )


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


def package(options: argparse.Namespace) -> list[str]:
    """Package a classifier as the command line describes; return the lines of the report.

    The folder is built in a temporary directory and moved into place when it is complete. An
    earlier version is kept.
    """
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PackageError(
            f"--out {options.out} cannot be created; pass a folder that you may write to"
        ) from error
    folder = options.out / options.name
    version = next_version(folder, options.version)
    with (
        TemporaryDirectory(dir=options.out, prefix=".packaging-") as temporary,
        ExitStack() as stack,
    ):
        source = options.calibrate and stack.enter_context(open_source(options.calibrate))
        imported = with_options(read_source(options), options)
        model, probe = write_folder(options.name, imported, Path(temporary))
        lines = [*imported.notes, *verification.expect(model, options.expect)]
        if options.verify:
            lines += verification.verify(model, stack.enter_context(open_source(options.verify)))
        if options.threshold is not None:
            model = _set_threshold(model, options.threshold)
        if source:
            model, calibration = calibrate_folder(model, source)
            lines += calibration
        if options.quantize is not None:
            lines += _quantize(model, options.quantize)
        model = replace_folder(folder, model, version)
    kept = folder.parent / PREVIOUS
    note = f"version {version}" + (f"; earlier versions are in {kept}" if kept.exists() else "")
    return [*describe(model, probe), note, *provenance.table(model.manifest), *lines]


def _set_threshold(model: Artifact, threshold: float) -> Artifact:
    """Write the same threshold for all labels; raise PackageError unless it is a multi-label model.

    A binary model has none: a calibration shifts its probabilities instead.
    """
    if model.manifest.task != MULTI_LABEL or not 0 <= threshold <= 1:
        raise PackageError("--threshold must be from 0 to 1, and requires --task multi-label")
    thresholds = (threshold,) * len(model.manifest.labels)
    calibration = Calibration(thresholds=thresholds, pictures=0, source="--threshold")
    return artifact.write_manifest(
        model.folder, model.manifest.model_copy(update={"calibration": calibration})
    )


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
