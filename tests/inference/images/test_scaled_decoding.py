"""Scaled decoding does not change what the models say of real pictures."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.images import loading
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from tests.conftest import ROOT
from tests.images import encoded, noise


def differing(model: Artifact, pictures: list[bytes]) -> list[int]:
    """Places of the pictures that `model` calls by another name in scaled decoding."""
    runtime = runtimes.load(model, "onnx", threads=1)
    named = [
        np.concatenate([runtime(decoder.decode(data).rows) for data in pictures]).argmax(axis=1)
        for scaled in (True, False)
        for decoder in [Decoder(model.manifest.preprocess, ImageReader(10**8), scaled=scaled)]
    ]
    return np.flatnonzero(named[0] != named[1]).tolist()


@pytest.fixture(scope="module")
def photos(photo_models: Path) -> Artifact:
    """MobileNetV2 with real weights."""
    return artifact.read(photo_models / "photos")


def enlarged(data: bytes, times: int) -> bytes:
    image = loading.decode(data)
    size = (image.width * times, image.height * times)
    return encoded(image.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=90)


@pytest.mark.parametrize("times", [1, 4])
def test_a_photograph_is_called_the_same(times: int, photos: Artifact, test_data: Path) -> None:
    folder = test_data / "imagenet"
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))[::8]
    pictures = [(folder / "samples" / row["file"]).read_bytes() for row in rows]
    if times > 1:
        pictures = [enlarged(data, times) for data in pictures]
    assert len(pictures) == 25
    assert differing(photos, pictures) == []


def on_a_large_sheet(drawing: Image.Image, corner: tuple[int, int]) -> bytes:
    """A photo of 4000x3000 pixels with a drawing, a tenth of its width, in one place of it."""
    sheet = noise(4000, 3000, seed=1).point(lambda level: 225 + level // 16)
    ink = drawing.convert("L").resize((400, 400), Image.Resampling.BICUBIC)
    sheet.paste((40, 40, 60), corner, ink.point(lambda level: 255 - level))
    return encoded(sheet, "JPEG", quality=90)


def test_a_small_digit_on_a_large_sheet_is_read_the_same(test_data: Path) -> None:
    paths = sorted((test_data / "digits" / "mouse_drawn").glob("*/*"))[::3]
    corners = [(60, 60), (3500, 2500), (1800, 1300), (3300, 100)]
    pictures = [on_a_large_sheet(Image.open(path), corners[i % 4]) for i, path in enumerate(paths)]
    assert len(pictures) >= 10
    # One of them is as much a 1 as a 7.
    assert len(differing(artifact.read(ROOT / "models" / "mnist-cnn"), pictures)) <= 1
