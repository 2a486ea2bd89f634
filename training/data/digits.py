"""Labeled digit datasets: MNIST from its IDX files, and the UCI optical digits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.inference.models import torchvision_compat
from evaluation.errors import SourceError
from evaluation.sources.mnist_idx import read_idx

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
NEGATIVE = 10  # the label of a crop without a digit
UCI_TRAINING_COUNT = 1200  # the first UCI digits are for training, the rest for validation


class DataError(Exception):
    """The dataset is missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Digits:
    """Labeled crops.

    `pixels` is uint8 (N, H, W), white ink on black. `labels` is uint8 (N,): 0-9 or NEGATIVE.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise DataError(f"{len(self.pixels)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice) -> "Digits":
        return Digits(self.pixels[index], self.labels[index])


def read_mnist(folder: Path, split: str) -> Digits:
    """Read the `train` or `test` split from a folder of MNIST's four `.gz` files.

    Raise DataError if a file is missing or damaged.
    """
    images, labels = (folder / name for name in FILES[split])
    try:
        return Digits(read_idx(images, 3), read_idx(labels, 1))
    except SourceError as error:
        raise DataError(str(error)) from error


def find_mnist(folder: Path | None, cache: Path) -> Path:
    """Return the folder of the MNIST files; download them to `cache` if `folder` is None.

    Raise DataError if a file is missing or the download fails.
    """
    if folder is None:
        return _download(cache)
    missing = [name for names in FILES.values() for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"MNIST files are missing in {folder}: {', '.join(missing)}. "
            "Pass the folder of the four .gz files, or omit --data to download them."
        )
    return folder


def read_uci() -> tuple[Digits, Digits]:
    """Return the UCI optical digits (8x8, CC BY 4.0) from scikit-learn, as (training, validation).

    Their writers are not those of MNIST.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.minimum(bunch.images * 16, 255).astype(np.uint8)
    digits = Digits(pixels, bunch.target.astype(np.uint8))
    return digits[:UCI_TRAINING_COUNT], digits[UCI_TRAINING_COUNT:]


def _download(cache: Path) -> Path:
    try:
        torchvision_compat.load("datasets").MNIST(str(cache), download=True)
    except (OSError, RuntimeError) as error:
        message = f"MNIST could not be downloaded ({error}); pass its folder with --data"
        raise DataError(message) from error
    return cache / "MNIST" / "raw"
