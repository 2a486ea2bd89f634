"""The shipped digit models: their measured figures, manifest and card."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.digits import LABELS, DigitPreprocess, find_digit
from backend.inference.types import Floats
from calibration.fit import Held, calibrate
from training.data.digits import Digits, read_mnist
from training.fit.calibration_metrics import promises, refusals
from training.fit.loop import accuracy

CARD = """# {name}

Reads one handwritten digit, 0 to 9: {kind}.

## Made by

    .venv/bin/python -m training.train {name} --data DIR --out models/{flags}

{learning}

The digits are the first 55,000 training digits of MNIST (LeCun, Cortes; CC BY-SA 3.0), as they are
and through renderings of coarse scans, pens, paper and light; 1,200 digits of the UCI optical
recognition set (Alpaydin, Kaynak; CC BY 4.0) in the same renderings; digits written by an imaginary
pen (`training/data/synthetic_handwriting.py`) and digits in print (`training/data/synthetic_print.py`). Pictures without a digit are
drawn, printed, or crops of three photographs that come with scikit-learn and matplotlib
(`training/data/negatives.py`).

## Measured

| what | figure |
| --- | --- |
| {rows} |

The validation sets were not learnt from, but the renderings of the training are also theirs:
digits of new writers and scanners may come out worse.{choice}

## Limits

One digit a picture. Photographs with more dark things in view than the digit may be read wrongly,
and so may a digit that touches the edge of a shadow or of the sheet.{strangers}

## Licence

Weights and code: Apache-2.0. The data they were made from: MNIST, CC BY-SA 3.0; UCI's digits,
CC BY 4.0. No picture of either is part of this folder.
"""
NO_STRANGERS = "\nIt says a digit of any picture, a face too."
ROWS = {
    "test_accuracy": ("MNIST test, {digits:,} digits, raw pixels", "{:.2%}"),
    "test_accuracy_pictures": (
        "MNIST test, as pictures (dark on white), through the search for the digit",
        "{:.2%}",
    ),
    "test_ece": ("… how far its percentages are off on average (ECE, 15 bins)", "{:.2%}"),
    "test_coverage_90": ("… sets of 90 % that hold the truth", "{:.2%}"),
    "test_coverage_95": ("… sets of 95 % that hold the truth", "{:.2%}"),
    "test_coverage_99": ("… sets of 99 % that hold the truth", "{:.2%}"),
    "test_set_size_99": ("… digits in a set of 99 %", "{:.3f}"),
    "test_refused": ("… taken for no digit", "{:.2%}"),
    "nothing_refused": (
        "{nothing:,} pictures without a digit, as in training: taken for none",
        "{:.2%}",
    ),
    "nothing_auroc": ("… told from MNIST's test digits (AUROC)", "{:.5f}"),
}


@dataclass(frozen=True)
class Reader:
    """A trained classifier of fields, and what its card says of it in words.

    `outputs_of` turns fields, uint8 (N, 28, 28), into outputs (N, 10).
    """

    name: str
    title: str
    architecture: str
    kind: str
    learning: str
    spec: DigitPreprocess
    output: Literal["logits", "probabilities"]
    outputs_of: Callable[[NDArray[np.uint8]], Floats]
    flags: str = ""  # of the command that made it, beside the usual ones
    choice: str = ""  # how the validation sets bore on it
    rows: Mapping[str, str] | None = None  # of the card's table, beside the accuracies


@dataclass(frozen=True)
class Measured:
    """A reader's manifest and card, and its outputs (N, 10) for MNIST's test digits."""

    manifest: Manifest
    card: str
    test: Digits
    outputs: Floats


def measure(reader: Reader, mnist: Path, checks: Mapping[str, Digits], nothing: Digits) -> Measured:
    """Calibrate `reader` on the validation sets, and measure it on them and MNIST's test digits.

    `nothing` are fields without a digit, on which it is measured what the model refuses.
    """
    test = read_mnist(mnist, "test")
    outputs = reader.outputs_of(test.pixels)
    pictures = reader.outputs_of(as_pictures(test, reader.spec).pixels)
    validated = {what: reader.outputs_of(digits.pixels) for what, digits in checks.items()}
    held = {
        what: Held(validated[what], digits.labels.astype(np.intp))
        for what, digits in checks.items()
    }
    calibration = calibrate(held, reader.output)
    metrics = {
        "test_accuracy": accuracy(outputs, test.labels),
        "test_accuracy_pictures": accuracy(pictures, test.labels),
        **promises(calibration, reader.output, pictures, test.labels),
        **refusals(calibration, pictures, reader.outputs_of(nothing.pixels)),
    }
    rows = {
        **{
            words.format(digits=len(test), nothing=len(nothing)): shown.format(metrics[name])
            for name, (words, shown) in ROWS.items()
            if name in metrics
        },
        **{
            f"validation: {what}, {len(digits):,} digits": (
                f"{accuracy(validated[what], digits.labels):.2%}"
            )
            for what, digits in checks.items()
        },
        **(reader.rows or {}),
    }
    manifest = Manifest(
        name=reader.name,
        version="2",
        title=reader.title,
        description=f"Reads one handwritten digit, 0 to 9: {reader.kind}.",
        license="Apache-2.0",
        architecture=reader.architecture,
        output=reader.output,
        labels=LABELS,
        preprocess=reader.spec,
        metrics={key: round(value, 5) for key, value in metrics.items()},
        calibration=calibration,
        files={},
    )
    card = CARD.format(
        name=reader.name,
        kind=reader.kind,
        learning=reader.learning,
        flags=reader.flags,
        rows=" |\n| ".join(f"{what} | {figure}" for what, figure in rows.items()),
        choice=reader.choice,
        strangers="" if calibration.max_ood_score is not None else NO_STRANGERS,
    )
    return Measured(manifest, card, test, outputs)


def as_pictures(digits: Digits, spec: DigitPreprocess) -> Digits:
    """What the model sees when `digits` are sent as pictures, dark ink on white."""
    fields = [
        find_digit(Image.fromarray(255 - pixels), spec)
        for pixels in tqdm(digits.pixels, desc="reading pictures", disable=None)
    ]
    return Digits(np.stack(fields), digits.labels)
