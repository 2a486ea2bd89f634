"""Example images for a first model: handwritten digits, drawn by a program."""

import zipfile
from typing import Final

from frontend import examples
from frontend.datasets.training_set import TrainingSet
from frontend.service.predictions import ImageFile

NAME: Final = "example"
DESCRIPTION: Final = (
    "Twenty drawings of the digits 1 and 6, ten of each. One is in the wrong class, so that you "
    "can find and correct it."
)
LABELS: Final = {"1": "One", "6": "Six"}
IMAGES: Final = 10  # of each class
_FILE: Final = examples.FOLDER / "digits.zip"  # training/data/example_dataset.py draws it


def load() -> TrainingSet:
    """Return the first images of each class; the last image of the first class is mislabeled."""
    images = TrainingSet()
    with zipfile.ZipFile(_FILE) as archive:
        for digit, label in LABELS.items():
            names = sorted(name for name in archive.namelist() if name.startswith(f"{digit}/"))
            images.add(label, [ImageFile(name, archive.read(name)) for name in names[:IMAGES]])
    first, second = LABELS.values()
    images.relabel(images.images(first)[-1].file.digest, second)
    return images
