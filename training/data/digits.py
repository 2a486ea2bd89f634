"""Read labelled digits: MNIST's idx files, and UCI's digits by other writers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.inference.models import torchvision_compat
from evaluation.errors import SourceError
from evaluation.sources.idx import read_idx

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
NOTHING = 10  # the label of a field without a digit
UCI_TRAINING = 1200  # the first so many of UCI's digits train, the rest validate


class DataError(Exception):
    """The data asked for is not there, or not what it should be; the text says what to do."""


@dataclass(frozen=True)
class Digits:
    """`pixels` (N, H, W) uint8, white ink on black, and `labels` (N,) uint8, 0-9."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise DataError(f"{len(self.pixels)} pictures but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice) -> "Digits":
        return Digits(self.pixels[index], self.labels[index])


def read_mnist(folder: Path, split: str) -> Digits:
    """Read the `train` or `test` split from a folder of MNIST's four `.gz` files.

    Raises DataError where a file is missing or damaged.
    """
    images, labels = (folder / name for name in FILES[split])
    try:
        return Digits(read_idx(images, 3), read_idx(labels, 1))
    except SourceError as error:
        raise DataError(str(error)) from error


def find_mnist(folder: Path | None, cache: Path) -> Path:
    """Return the folder with MNIST's files; without a folder they are downloaded to `cache`."""
    if folder is None:
        return _download(cache)
    missing = [name for names in FILES.values() for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} does not hold MNIST: {', '.join(missing)} missing. "
            "Name the folder with the four .gz files, or leave --data out to download them."
        )
    return folder


def read_uci() -> tuple[Digits, Digits]:
    """UCI's optical digits (8x8, CC BY 4.0), as scikit-learn carries them: training, validation.

    The two halves are other writers than MNIST's.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.minimum(bunch.images * 16, 255).astype(np.uint8)
    digits = Digits(pixels, bunch.target.astype(np.uint8))
    return digits[:UCI_TRAINING], digits[UCI_TRAINING:]


def _download(cache: Path) -> Path:
    try:
        torchvision_compat.load("datasets").MNIST(str(cache), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"MNIST could not be downloaded ({error}); name its folder with --data"
        ) from error
    return cache / "MNIST" / "raw"
