"""Limits of taught models. Imports little, so that a page can use them before a model is taught."""

from typing import Final

MIN_CLASSES: Final = 2
MAX_CLASSES: Final = 100
MIN_IMAGES: Final = 2  # per class
MAX_IMAGES: Final = 20_000
MAX_LABEL: Final = 100  # characters
NAME_PATTERN: Final = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"  # of a model
