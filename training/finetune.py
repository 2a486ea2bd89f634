"""Fine-tune all layers of a photo network, and compare the result with a head on the same network.

    .venv/bin/python -m training.finetune SOURCE --backbone photos --name ants-bees --out models/

SOURCE is a folder or zip with one folder per class, or a CSV of paths and labels. A part of the
images is held out: both models are measured on it, and the calibration is fitted to it.
"""

import argparse
import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import load_file

from backend.inference import runtimes
from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks
from backend.inference.models.artifact import NAME_PATTERN, Artifact, Manifest
from backend.inference.models.efficientnet_lite import SCALES, EfficientNetLite
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from calibration import apply
from calibration.fit import CalibrationError, HeldOutOutputs, calibrate
from evaluation.errors import EvaluationError
from evaluation.sources import open_source
from teach import head
from training.data.photographs import DatasetError, LabeledPhotographs, read_photographs
from training.fit.calibration_metrics import cross_fit
from training.fit.finetuning import (
    BATCH,
    Photographs,
    Schedule,
    embed,
    find_device,
    finetune,
    replace_classifier,
)
from training.fit.head_comparison import HeadComparison
from training.package.export import describe, export
from training.package.model_spec import PackageError
from training.package.packaging import make_probe
from training.package.versions import next_version, replace_folder

MIN_CROSS_FITTED = 50  # held-out images from which figures of the calibration are measured

CARD = """# {name}

{description}

Classes: {labels}.

## Training

    .venv/bin/python -m training.finetune {source} --backbone {backbone} --name {name} \\
        --epochs {epochs} --rate {rate:g} --held-out {share:g} --seed {seed}

All layers of `{backbone}` (version {backbone_version}, SHA-256 of the weights `{sha256}`)
were trained on {train} images for {epochs} epochs, from a logistic regression on its features.

## Evaluation

On {test} held-out images that were not used for training:

{comparison}

The calibration is fitted to the held-out images, too.
"""


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train the model; exit with a one-line error on failure."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune",
        description="Fine-tune all layers of a photo network on labeled images.",
    )
    option = parser.add_argument
    option("source", type=Path, help="a folder or zip of class folders, or a CSV")
    option("--backbone", default="photos", help="a model in --models, or a folder (photos)")
    option("--models", type=Path, default=Path("models"), help="folder of models (models)")
    option("--name", required=True, help="name of the model; its folder is OUT/NAME")
    option("--version", help="version of the model; see training.package")
    option("--out", type=Path, default=Path("models"), help="target folder (models)")
    option("--epochs", type=int, default=10, help="passes over the images (10)")
    option("--rate", type=float, default=1e-4, help="highest learning rate (1e-4)")
    option("--held-out", type=float, default=0.2, help="share of the images to measure on (0.2)")
    option("--seed", type=int, default=0, help="of the split and the training (0)")
    option("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args(arguments)
    if not re.fullmatch(NAME_PATTERN, options.name):
        parser.error("--name may contain lowercase letters, digits, dots, dashes and underscores")
    if options.epochs < 1 or options.threads < 1 or not 0 < options.rate < 1:
        parser.error("--epochs and --threads must be at least 1, --rate between 0 and 1")
    if not 0.05 <= options.held_out <= 0.5:
        parser.error("--held-out must be between 0.05 and 0.5")
    torch.set_num_threads(options.threads)
    try:
        print("\n".join(run(options)))
    except (
        ArtifactError, CalibrationError, DatasetError, EvaluationError, PackageError, OSError
    ) as error:  # fmt: skip
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")


def run(options: argparse.Namespace) -> list[str]:
    """Train, measure and write the model; return the lines of a report.

    The folder is moved into place when it is complete. An earlier version is kept.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    folder = options.out / options.name
    version = next_version(folder, options.version)
    backbone, network, spec = read_backbone(options.backbone, options.models)
    with open_source(options.source) as source:
        data = read_photographs(source, spec, options.held_out, options.seed)
    device = find_device()
    print(data.describe(), f"training on {device.type}", sep="; ", flush=True)
    features = embed(network, np.concatenate([data.train_rows, data.test_rows]), device)
    train, test = np.split(features, [len(data.train_rows)])
    nothing = np.empty((0, features.shape[1]), np.float32)
    linear = head.fit(apply.normalize(train), data.train_truth, len(data.labels), nothing, None)
    norm = float(np.linalg.norm(train, axis=1).mean())
    replace_classifier(network, linear.weight, linear.bias, norm)
    started = time.monotonic()
    photographs = Photographs(data.train_images, data.train_truth, spec)
    schedule = Schedule(options.epochs, options.rate, options.seed)
    finetune(network, photographs, schedule, device)
    seconds = time.monotonic() - started
    manifest = Manifest(
        name=options.name,
        version=version,
        title=options.name,
        description=f"{backbone.manifest.architecture}, fine-tuned on {len(data.train_images):,} "
        f"images of {len(data.labels)} classes.",
        license=backbone.manifest.license,
        architecture=backbone.manifest.architecture,
        labels=data.labels,
        preprocess=spec,
        files={},
    )
    with TemporaryDirectory(dir=options.out, prefix=".finetuning-") as temporary:
        probe = make_probe(spec)
        new = export(network, manifest, Path(temporary) / "new", probe, "", half_precision=True)
        # Measured as it will be served: with rounded weights, in ONNX Runtime.
        held_out = HeldOutOutputs(_run(new, data.test_rows), data.test_truth)
        comparison = HeadComparison.of(
            held_out.truth, held_out.outputs, linear.logits(apply.normalize(test))
        )
        new = _complete(new, held_out, comparison, data, backbone, options)
        model = replace_folder(folder, new, version)
    return [
        *describe(model, probe),
        f"version {version}; trained for {seconds:.0f} s on {device.type}",
        *comparison.lines(),
    ]


def read_backbone(name: str, models: Path) -> tuple[Artifact, EfficientNetLite, PhotoPreprocess]:
    """Return the model folder of a backbone, its network and its preprocessing.

    `name` is a folder, or its name in `models`. Raise ArtifactError unless it is an
    EfficientNet-Lite with weights.
    """
    folder = models / name if (models / name).is_dir() else Path(name)
    model = artifact.read(folder)
    manifest = model.manifest
    spec = manifest.preprocess
    if manifest.architecture not in SCALES or model.weights is None:
        raise ArtifactError(
            f"{folder} has the architecture {manifest.architecture}; only models with weights of "
            f"{', '.join(SCALES)} can be fine-tuned"
        )
    if not isinstance(spec, PhotoPreprocess) or not isinstance(spec.resize, int):
        raise ArtifactError(f"{folder} does not resize the shorter side of photographs")
    network = networks.build(manifest.architecture, len(manifest.labels))
    assert isinstance(network, EfficientNetLite)  # noqa: S101
    network.load_state_dict(load_file(model.weights))  # float16 is converted
    return model, network, spec


def _run(model: Artifact, rows: Floats) -> Floats:
    runtime = runtimes.load(model, "onnx")
    parts = [runtime(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    return np.concatenate(parts)


def _complete(
    model: Artifact,
    held_out: HeldOutOutputs,
    comparison: HeadComparison,
    data: LabeledPhotographs,
    backbone: Artifact,
    options: argparse.Namespace,
) -> Artifact:
    """Write calibration, figures and card of a model folder."""
    manifest = model.manifest
    figures = {"test_accuracy": comparison.accuracy, "head_accuracy": comparison.head_accuracy}
    if len(held_out.truth) >= MIN_CROSS_FITTED:
        figures = cross_fit(held_out, "logits") | figures
    metrics = {name: round(value, 5) for name, value in figures.items()}
    card = CARD.format(
        name=manifest.name,
        description=manifest.description,
        labels=", ".join(manifest.labels),
        source=options.source.name,
        backbone=backbone.manifest.name,
        backbone_version=backbone.manifest.version,
        sha256=backbone.network_sha256,
        epochs=options.epochs,
        rate=options.rate,
        share=options.held_out,
        seed=options.seed,
        train=len(data.train_images),
        test=len(held_out.truth),
        comparison="\n".join(f"- {line}" for line in comparison.lines()),
    )
    (model.folder / artifact.CARD).write_text(card, encoding="utf-8")
    calibration = calibrate({f"{options.source.name}, held out": held_out}, "logits")
    update = {"calibration": calibration, "metrics": manifest.metrics | metrics}
    return artifact.write_manifest(model.folder, manifest.model_copy(update=update))


if __name__ == "__main__":
    main()
