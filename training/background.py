"""Features of images of other things, for `teach`.

    .venv/bin/python -m training.background PHOTOGRAPHS --model models/photos

Write `teach/background.safetensors`: features of PHOTOGRAPHS of many kinds (a folder, evenly spaced
COUNT of them) and of generated text, digits, drawings, screenshots and textures. The features are
stored as 8-bit numbers, with the checksum of the model's weights.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageOps
from safetensors.numpy import save_file

from evaluation.sources import open_source
from evaluation.sources.base import evenly_spaced
from evaluation.types import Sample
from teach import background
from teach.local_embedding import LocalEmbedding
from training.data import negatives, screenshots, synthetic_handwriting

PHOTOGRAPHS = 250
GENERATED = 10  # of each kind


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m training.background", description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/photos"))
    args = parser.parse_args(arguments)
    with open_source(args.photographs, labeled=False) as source:
        indices = evenly_spaced(len(source), PHOTOGRAPHS)
        contents = [each.content for each in source.samples(indices) if isinstance(each, Sample)]
    rng = np.random.default_rng(0)
    contents += [_draw(kind, rng) for kind in _kinds() for _ in range(GENERATED)]
    with LocalEmbedding(args.model) as embed:
        features = np.stack([each for each in embed(contents) if each is not None])
        levels = np.rint(features * (255 / features.max())).astype(np.uint8)
        metadata = {"backbone_sha256": embed.backbone.sha256}
    save_file({"features": levels}, background.FILE, metadata)
    print(f"{background.FILE}: {len(levels)} images")


def _kinds() -> list[Callable[[Generator], Image.Image]]:
    return [
        negatives.print_text,
        negatives.print_letter,
        negatives.draw_strokes,
        negatives.draw_shapes,
        negatives.draw_clouds,
        negatives.draw_noise,
        screenshots.draw_screenshot,
        _draw_digit,
    ]


def _draw_digit(rng: Generator) -> Image.Image:
    digit = synthetic_handwriting.draw_digit(int(rng.integers(10)), rng)
    return ImageOps.invert(digit) if rng.random() < 0.5 else digit


def _draw(kind: Callable[[Generator], Image.Image], rng: Generator) -> bytes:
    file = io.BytesIO()
    negatives.finish(kind(rng), rng).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
