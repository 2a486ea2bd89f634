"""The bundled digit models: metrics, manifest and model card."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.digit_crop import LABELS, DigitPreprocess, find_digit
from backend.inference.types import Floats
from calibration.apply import OutputKind
from calibration.fit import HeldOutOutputs, calibrate
from training.data.digits import Digits, read_mnist
from training.fit.calibration_metrics import measure_calibration, measure_rejection
from training.fit.loop import accuracy

CARD = """# {name}

Reads one handwritten digit, 0 to 9: {kind}.

## Training

    .venv/bin/python -m training.train {name} --data DIR --out models/{flags}

{training}

The training data are the first 55,000 training digits of MNIST (LeCun, Cortes; CC BY-SA 3.0), raw
and rendered as coarse scans and as ink on paper under varying light; 1,200 digits of the UCI
optical recognition set (Alpaydin, Kaynak; CC BY 4.0), rendered the same way; synthetic handwriting
(`training/data/synthetic_handwriting.py`) and synthetic print (`training/data/synthetic_print.py`).
The images without a digit are drawn, printed, or crops of three photographs that are included in
scikit-learn and matplotlib (`training/data/negatives.py`).

## Evaluation

| metric | value |
| --- | --- |
| {rows} |

The model was not trained on the validation sets, but they were rendered by the same code as the
training data: accuracy may be lower for new writers and scanners.{selection}

## Limitations

One digit per image. The model may misread photographs that show dark objects besides the digit,
and digits that touch the edge of a shadow or of the sheet.{ood}

## License

Weights and code: Apache-2.0. Training data: MNIST, CC BY-SA 3.0; UCI digits, CC BY 4.0. This folder
contains no image of either.
"""
NO_OOD = "\nThe model does not detect other images: it reads a digit in any image, even in a face."
ROWS = {
    "test_accuracy": ("MNIST test, accuracy, {digits:,} raw digits", "{:.2%}"),
    "test_accuracy_pictures": (
        "MNIST test, accuracy, as images (dark on white), with digit extraction",
        "{:.2%}",
    ),
    "test_ece": ("… expected calibration error (15 bins)", "{:.2%}"),
    "test_coverage_90": ("… coverage of the 90% prediction sets", "{:.2%}"),
    "test_coverage_95": ("… coverage of the 95% prediction sets", "{:.2%}"),
    "test_coverage_99": ("… coverage of the 99% prediction sets", "{:.2%}"),
    "test_set_size_99": ("… labels per 99% prediction set", "{:.3f}"),
    "test_refused": ("… classified as out of distribution", "{:.2%}"),
    "nothing_refused": (
        "{negatives:,} crops of images without a digit, drawn as in training: out of distribution",
        "{:.2%}",
    ),
    "nothing_auroc": ("… AUROC against the MNIST test digits", "{:.5f}"),
}


@dataclass(frozen=True)
class DigitClassifier:
    """A trained classifier of digit crops, with the prose of its model card.

    `compute_outputs` returns outputs (N, 10) for crops, uint8 (N, 28, 28).
    """

    name: str
    title: str
    architecture: str
    kind: str
    training: str
    spec: DigitPreprocess
    output: OutputKind
    compute_outputs: Callable[[NDArray[np.uint8]], Floats]
    flags: str = ""  # further options of the training command
    selection: str = ""  # how the validation sets influenced training
    rows: Mapping[str, str] | None = None  # further rows of the evaluation table


@dataclass(frozen=True)
class MeasuredModel:
    """Manifest and card of a model, and its outputs (N, 10) for the raw MNIST test digits."""

    manifest: Manifest
    card: str
    test: Digits
    outputs: Floats


def measure(
    classifier: DigitClassifier, mnist: Path, validation: Mapping[str, Digits], negatives: Digits
) -> MeasuredModel:
    """Calibrate `classifier` on the validation sets; measure it on them and the MNIST test set.

    `negatives` are crops without a digit, for the metrics of out-of-distribution detection.
    """
    test = read_mnist(mnist, "test")
    compute_outputs = classifier.compute_outputs
    outputs = compute_outputs(test.pixels)
    image_outputs = compute_outputs(extract_from_images(test, classifier.spec).pixels)
    held_out = {
        name: HeldOutOutputs(compute_outputs(digits.pixels), digits.labels.astype(np.intp))
        for name, digits in validation.items()
    }
    calibration = calibrate(held_out, classifier.output)
    metrics = {
        "test_accuracy": accuracy(outputs, test.labels),
        "test_accuracy_pictures": accuracy(image_outputs, test.labels),
        **measure_calibration(calibration, classifier.output, image_outputs, test.labels),
        **measure_rejection(calibration, image_outputs, compute_outputs(negatives.pixels)),
    }
    rows = {
        **{
            text.format(digits=len(test), negatives=len(negatives)): shown.format(metrics[name])
            for name, (text, shown) in ROWS.items()
            if name in metrics
        },
        **{
            f"validation accuracy: {name}, {len(digits):,} digits": (
                f"{accuracy(held_out[name].outputs, digits.labels):.2%}"
            )
            for name, digits in validation.items()
        },
        **(classifier.rows or {}),
    }
    manifest = Manifest(
        name=classifier.name,
        version="2",
        title=classifier.title,
        description=f"Reads one handwritten digit, 0 to 9: {classifier.kind}.",
        license="Apache-2.0",
        architecture=classifier.architecture,
        output=classifier.output,
        labels=LABELS,
        preprocess=classifier.spec,
        metrics={key: round(value, 5) for key, value in metrics.items()},
        calibration=calibration,
        files={},
    )
    card = CARD.format(
        name=classifier.name,
        kind=classifier.kind,
        training=classifier.training,
        flags=classifier.flags,
        rows=" |\n| ".join(f"{metric} | {value}" for metric, value in rows.items()),
        selection=classifier.selection,
        ood="" if calibration.max_ood_score is not None else NO_OOD,
    )
    return MeasuredModel(manifest, card, test, outputs)


def extract_from_images(digits: Digits, spec: DigitPreprocess) -> Digits:
    """Return the crops that `find_digit` extracts from `digits` as images, dark ink on white."""
    crops = [
        find_digit(Image.fromarray(255 - pixels), spec)
        for pixels in tqdm(digits.pixels, desc="extracting digits", disable=None)
    ]
    return Digits(np.stack(crops), digits.labels)
