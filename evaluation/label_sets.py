"""Sets of labels as text, for multi-label models: `red;green`. The empty text is the empty set."""

from collections.abc import Iterable, Sequence
from typing import Final

from evaluation.errors import LabelError

SEPARATOR: Final = ";"
SEPARATORS: Final = (SEPARATOR, "|")
NO_LABELS: Final = "no_labels"  # a folder or cell of images without labels


def split_labels(text: str) -> tuple[str, ...]:
    """Return the labels in a text such as `red;green` or `red|green`, without duplicates."""
    for separator in SEPARATORS[1:]:
        text = text.replace(separator, SEPARATOR)
    names = (name.strip() for name in text.split(SEPARATOR))
    return tuple(dict.fromkeys(name for name in names if name and name != NO_LABELS))


def join_labels(labels: Iterable[str], order: Sequence[str]) -> str:
    """Return labels as text, in the order of `order`, so that equal sets are equal texts."""
    position = {label: index for index, label in reversed(list(enumerate(order)))}
    return SEPARATOR.join(sorted(set(labels), key=position.__getitem__))


def require_separable(labels: Iterable[str]) -> None:
    """Raise LabelError if a label contains a separator, so that a text would be ambiguous."""
    for label in labels:
        if any(separator in label for separator in SEPARATORS):
            raise LabelError(
                f"the model's label {label!r} contains a semicolon or a bar, which separate the "
                "labels of an image; package the model with other labels"
            )
