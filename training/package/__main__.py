"""Package a classifier that was trained elsewhere as a model folder.

    .venv/bin/python -m training.package NAME SOURCE --architecture torchvision/mobilenet_v2 \\
        --labels FILE --out DIR

SOURCE is a file or a folder, whose kind is found by its content. --checkpoint FILE and --onnx FILE
name one too. Instead of it, --pretrained uses torchvision's published weights. --quantize adds a
graph with 8-bit integers; alone, it adds one to the model folder OUT/NAME.
"""

import argparse
import re
import sys
from pathlib import Path

from backend.inference.errors import ArtifactError
from backend.inference.models import networks
from backend.inference.models.artifact import NAME_PATTERN
from calibration.fit import CalibrationError
from calibration.sigmoid import BINARY, MULTI_LABEL, SINGLE_LABEL
from evaluation.errors import EvaluationError
from training.package import torchserve_archive
from training.package.model_spec import PackageError
from training.package.packaging import package, quantize_existing
from training.package.quantization import MIN_IMAGES
from training.package.versions import PREVIOUS

# Options that describe a new model; --quantize alone changes an existing one.
_NEW_ONLY = (
    "architecture",
    "head",
    "labels",
    "preprocess",
    "output",
    "output_name",
    "task",
    "threshold",
    "sha256",
    "calibrate",
    "verify",
    "expect",
    "version",
)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and package the model; exit with a one-line error on failure."""
    parser = argparse.ArgumentParser(
        prog="python -m training.package",
        description="Package a classifier that was trained elsewhere as a model folder.",
    )
    option = parser.add_argument
    option("name", help="model name; the folder is OUT/NAME")
    option(
        "source",
        nargs="?",
        type=Path,
        help="the classifier: a file or folder; its kind is found by its content (docs/models.md)",
    )
    ours = ", ".join(sorted(networks.ARCHITECTURES))
    option("--architecture", help=f"torchvision/NAME, timm/NAME or one of {ours}")
    option(
        "--head",
        metavar="LAYERS",
        help="the Sequential that replaces the last layer of --architecture, such as "
        "'linear 256, relu, dropout, linear'",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--checkpoint",
        type=Path,
        help="state dict: .pt, .pth or .safetensors; or an archive of TorchServe, .mar",
    )
    source.add_argument("--pretrained", action="store_true", help="torchvision's published weights")
    source.add_argument("--onnx", type=Path, help="ONNX classifier; excludes --architecture")
    option("--labels", type=Path, help="file with one label per line, or JSON")
    option("--preprocess", help="imagenet, digit, a JSON file, or JSON in quotes")
    option("--output", choices=["logits", "probabilities"], help="output type of the ONNX graph")
    option(
        "--task",
        choices=[SINGLE_LABEL, BINARY, MULTI_LABEL],
        help="binary: one output, for the second of two labels; multi-label: an image may have any "
        "number of the labels (default: one label is right)",
    )
    option(
        "--threshold",
        type=float,
        metavar="SHARE",
        help="probability from which an image has a label; requires --task multi-label and "
        "excludes --calibrate, which fits one for each label (default: 0.5)",
    )
    option(
        "--output-name",
        metavar="NAME",
        help="output of an ONNX graph that holds the scores of the classes, if it has several",
    )
    option("--sha256", help="expected SHA-256 of the checkpoint or the ONNX file")
    option(
        "--verify",
        type=Path,
        metavar="SOURCE",
        help="labeled images, such as a folder with one subfolder per class: print the top-1 "
        "accuracy, and a warning if another preprocessing is clearly better",
    )
    option(
        "--expect",
        action="append",
        default=[],
        metavar="IMAGE=LABEL",
        help="fail unless the model predicts LABEL for the image; may be repeated",
    )
    option(
        "--calibrate",
        type=Path,
        metavar="SOURCE",
        help="labeled images that were not used in training: a folder with one subfolder per "
        "class, a zip of such a folder, or a CSV of paths and labels",
    )
    option(
        "--quantize",
        nargs="?",
        const="",
        metavar="SOURCE",
        help="also write a graph with 8-bit integers, with ranges from SOURCE: a folder or zip of "
        f"at least {MIN_IMAGES} images (default: generated images)",
    )
    option(
        "--version",
        help="version of the model (default: that of OUT/NAME counted up, or 1); the folder of the "
        f"earlier version is kept in OUT/{PREVIOUS}",
    )
    option("--out", type=Path, default=Path("models"), help="target folder (default: models)")
    option("--traceback", action="store_true", help="show where an unexpected error occurs")
    options = parser.parse_args(arguments)
    if not re.fullmatch(NAME_PATTERN, options.name):
        parser.error("NAME may contain lowercase letters, digits, dots, dashes and underscores")
    flags = options.checkpoint or options.pretrained or options.onnx
    if options.source and flags:
        parser.error("SOURCE excludes --checkpoint, --pretrained and --onnx")
    options.checkpoint = options.checkpoint or options.source
    is_existing = not (options.checkpoint or options.pretrained or options.onnx)
    if is_existing and options.quantize is None:
        parser.error("SOURCE, --pretrained or --quantize is required")
    if is_existing and any(getattr(options, name) for name in _NEW_ONLY):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in _NEW_ONLY)
        parser.error(f"{names} require SOURCE or --pretrained")
    if options.threshold is not None and options.calibrate:
        parser.error("--calibrate fits the thresholds; it excludes --threshold")
    if options.pretrained and not options.architecture:
        parser.error("--pretrained requires --architecture torchvision/NAME")
    if options.onnx and (options.architecture or options.head):
        parser.error("--onnx excludes --architecture and --head")
    if options.pretrained and options.output_name:
        parser.error("--output-name is for ONNX graphs; --pretrained has one output")
    if options.pretrained and options.sha256:
        parser.error("--sha256 is for files; --pretrained verifies the published checksum itself")
    if options.pretrained and options.head:
        parser.error("--head is for checkpoints; --pretrained has the published last layer")
    try:
        with torchserve_archive.unpacked(options):
            print("\n".join(quantize_existing(options) if is_existing else package(options)))
    except (PackageError, ArtifactError, CalibrationError, EvaluationError, OSError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if options.traceback:
            raise
        sys.exit(
            f"error: {type(error).__name__} while packaging, which is a bug of this program; "
            "nothing was changed. Report it with the output of the same command and --traceback"
        )


if __name__ == "__main__":
    main()
