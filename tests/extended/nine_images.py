"""Nine images of several sizes, and what a packaged model answers for them."""

import asyncio
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.models import artifact
from backend.inference.types import Floats

SIZES = (
    (320, 240), (240, 320), (224, 224), (500, 333), (96, 96), (640, 480), (200, 150), (300, 300),
    (129, 257),
)  # fmt: skip


def write(folder: Path) -> list[Path]:
    """Write nine images with large shapes and fine noise to `folder` as PNG."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    paths = []
    for number, size in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        image = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (image + rng.integers(-20, 21, image.shape)).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(noisy).save(paths[-1])
    return paths


def classify(folder: Path, images: list[Path]) -> Floats:
    """Return the probabilities (N, C) that the model in `folder` gives the images."""
    model = artifact.read(folder)
    classifier = Classifier(model, partial(runtimes.load, model), scaled_decoding=False)

    async def all_images() -> list[Floats]:
        return [(await classifier.classify(each.read_bytes())).probabilities for each in images]

    try:
        return np.stack(asyncio.run(all_images()))
    finally:
        classifier.close()
