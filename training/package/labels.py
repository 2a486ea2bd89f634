"""Reads the labels of a model, in the order of its outputs."""

import json
from pathlib import Path

from backend.inference.models import torchvision_compat

IMAGENET_CLASSES = 1000


class LabelsError(Exception):
    """The labels cannot be read; the message says why."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels in a JSON list of strings or a text file with one label per line.

    Raise LabelsError if the file is neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsError(f"{path} cannot be read as a labels file") from error
    labels: object = [line.strip() for line in text.splitlines()]
    if path.suffix == ".json":
        try:
            labels = json.loads(text)
        except ValueError as error:
            raise LabelsError(f"{path} is not valid JSON") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise LabelsError(f"{path} is not a list of labels")
    while labels and not labels[-1]:
        labels.pop()
    if "" in labels:
        raise LabelsError(f"{path}: label {labels.index('') + 1} is empty")
    return tuple(labels)


def default_labels(classes: int) -> tuple[str, ...]:
    """Return the ImageNet labels for 1,000 classes, else the class numbers."""
    if classes != IMAGENET_CLASSES:
        return tuple(map(str, range(classes)))
    models = torchvision_compat.load("models")
    return tuple(models.MobileNet_V2_Weights.DEFAULT.meta["categories"])
