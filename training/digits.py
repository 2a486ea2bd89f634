"""The shipped digit models: their measured figures, manifest and card."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn
from tqdm import tqdm

from backend.inference.artifact import Artifact, Manifest
from backend.inference.digits import LABELS, DigitPreprocess, find_digit, normalize
from training.data import Digits, read_mnist
from training.export import export
from training.fit import accuracy

PARITY_IMAGES = 1_000

CARD = """# {name}

Reads one handwritten digit, 0 to 9: a convolutional network of {parameters:,} parameters.

## Made by

    .venv/bin/python -m training.train {name} --data DIR --out models/ --bfloat16

Trained on the first 55,000 training digits of MNIST (LeCun, Cortes; CC BY-SA 3.0), as they are and
through renderings of coarse scans, pens, paper and light; on 1,200 digits of the UCI optical
recognition set (Alpaydin, Kaynak; CC BY 4.0) in the same renderings; on digits written by an
imaginary pen (`training/pen.py`); and on fields without a digit, for which every class is as
probable. The weights are an average over the last steps.

## Measured

| what | figure |
| --- | --- |
| MNIST test, 10,000 digits, raw pixels | {test:.2%} |
| MNIST test, as pictures (dark on white), through the search for the digit | {pictures:.2%} |
| {checks}
| largest difference of torch and ONNX Runtime, {parity_images:,} test digits | {{parity:.1e}} |

The validation sets were not learnt from, but the renderings of the training are also theirs:
digits of new writers and scanners may come out worse.

## Limits

One digit a picture. It says a digit of any picture, a face too: probabilities are not calibrated.
Photographs with more dark things in view than the digit may be read wrongly, and so may a digit
that touches the edge of a shadow or of the sheet.

## Licence

Weights and code: Apache-2.0. The data they were made from: MNIST, CC BY-SA 3.0; UCI's digits,
CC BY 4.0. No picture of either is part of this folder.
"""


def export_digits(
    network: nn.Module,
    name: str,
    mnist: Path,
    out: Path,
    spec: DigitPreprocess,
    checks: dict[str, Digits],
) -> Artifact:
    """Measure a digit network on MNIST's test digits and `checks`, and write `out/name`."""
    test = read_mnist(mnist, "test")
    metrics = {
        "test_accuracy": accuracy(network, test, spec),
        "test_accuracy_pictures": accuracy(network, as_pictures(test, spec), spec),
    }
    found = {
        what: (len(digits), accuracy(network, digits, spec)) for what, digits in checks.items()
    }
    rows = "\n| ".join(
        f"validation: {w}, {n:,} digits | {share:.2%} |" for w, (n, share) in found.items()
    )
    card = CARD.format(
        name=name,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        test=metrics["test_accuracy"],
        pictures=metrics["test_accuracy_pictures"],
        checks=rows,
        parity_images=PARITY_IMAGES,
    )
    manifest = Manifest(
        name=name,
        version="1",
        title="Handwritten digits",
        description="Reads one handwritten digit, 0 to 9.",
        license="Apache-2.0",
        architecture=name,
        labels=LABELS,
        preprocess=spec,
        metrics={key: round(value, 4) for key, value in metrics.items()},
        files={},
    )
    probe = normalize(test.pixels[:PARITY_IMAGES], spec)
    return export(network, manifest, out / name, np.ascontiguousarray(probe), card)


def as_pictures(digits: Digits, spec: DigitPreprocess) -> Digits:
    """What the model sees when `digits` are sent as pictures, dark ink on white."""
    fields = [
        find_digit(Image.fromarray(255 - pixels), spec)
        for pixels in tqdm(digits.pixels, desc="reading pictures")
    ]
    return Digits(np.stack(fields), digits.labels)
