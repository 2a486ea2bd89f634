"""The names of a model's classes, in the order of its outputs."""

import json
from pathlib import Path

from backend.inference.models import torchvision_compat

IMAGENET_CLASSES = 1000


class LabelsError(Exception):
    """Labels that cannot be read; the text says why."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a JSON list of strings, or a text file with one label a line.

    Raises LabelsError where the file is neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsError(f"{path} cannot be read as a file of labels") from error
    labels: object = [line.strip() for line in text.splitlines()]
    if path.suffix == ".json":
        try:
            labels = json.loads(text)
        except ValueError as error:
            raise LabelsError(f"{path} is not valid JSON") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise LabelsError(f"{path} is no list of labels")
    while labels and not labels[-1]:
        labels.pop()
    if "" in labels:
        raise LabelsError(f"{path}: label {labels.index('') + 1} is empty")
    return tuple(labels)


def default_labels(classes: int) -> tuple[str, ...]:
    """ImageNet's names for 1,000 classes, else the numbers of the classes."""
    if classes != IMAGENET_CLASSES:
        return tuple(map(str, range(classes)))
    models = torchvision_compat.load("models")
    return tuple(models.MobileNet_V2_Weights.DEFAULT.meta["categories"])
