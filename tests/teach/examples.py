"""Examples with invented features: each class is a cluster around an axis."""

from collections.abc import Sequence

import numpy as np

from calibration import apply
from teach.types import Backbone, Example, Floats

DIMENSIONS = 24
BACKBONE = Backbone("photos", "1", "0" * 64, {"kind": "image"}, DIMENSIONS)


def features(axis: int, seed: int, noise: float = 0.1) -> Floats:
    """Return an image's features: unit vector `axis` with noise, L2-normalized."""
    rng = np.random.default_rng([axis, seed])
    vector = rng.normal(0, noise, (1, DIMENSIONS)).astype(np.float32)
    vector[0, axis] += 1
    unit: Floats = apply.normalize(vector)[0]
    return unit


def example(label: str, axis: int, seed: int) -> Example:
    """Return an image that `embed` gives the features of `axis` and `seed`."""
    return Example(label, f"{axis},{seed}".encode(), f"{label}/{axis}-{seed}.png")


def classes(labels: Sequence[str], images: int) -> list[Example]:
    """Return `images` examples of each label."""
    return [example(label, n, seed) for n, label in enumerate(labels) for seed in range(images)]


def embed(contents: Sequence[bytes]) -> list[Floats | None]:
    """Return the features that the contents state, and None for other contents."""
    return [_read(content) for content in contents]


def others(count: int) -> Floats:
    """Return the features of images of other things, around axes that no class has."""
    return np.stack([features(DIMENSIONS - 1 - seed % 4, seed, 0.2) for seed in range(count)])


def _read(content: bytes) -> Floats | None:
    axis, _, seed = content.partition(b",")
    return features(int(axis), int(seed)) if seed else None


class CountingEmbed:
    """Counts the images that it embeds."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, contents: Sequence[bytes]) -> list[Floats | None]:
        self.count += len(contents)
        return embed(contents)
