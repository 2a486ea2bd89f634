"""Scaled decoding does not change the predictions for real images."""

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


def changed_predictions(model: Artifact, images: list[bytes]) -> list[int]:
    """Return the indices of images whose prediction changes with scaled decoding."""
    runtime = runtimes.load(model, "onnx", threads=1)
    predictions = [
        np.concatenate([runtime(decoder.decode(data).rows) for data in images]).argmax(axis=1)
        for scaled in (True, False)
        for decoder in [Decoder(model.manifest.preprocess, ImageReader(10**8), scaled=scaled)]
    ]
    return np.flatnonzero(predictions[0] != predictions[1]).tolist()


@pytest.fixture(scope="module")
def photos(photo_models: Path) -> Artifact:
    """MobileNetV2 with real weights."""
    return artifact.read(photo_models / "photos")


def enlarged(data: bytes, times: int) -> bytes:
    image = loading.decode(data)
    size = (image.width * times, image.height * times)
    return encoded(image.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=90)


@pytest.mark.parametrize("times", [1, 4])
def test_photo_gets_the_same_prediction(times: int, photos: Artifact, test_data: Path) -> None:
    folder = test_data / "imagenet"
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))[::8]
    images = [(folder / "samples" / row["file"]).read_bytes() for row in rows]
    if times > 1:
        images = [enlarged(data, times) for data in images]
    assert len(images) == 25
    assert changed_predictions(photos, images) == []


def on_a_large_sheet(drawing: Image.Image, corner: tuple[int, int]) -> bytes:
    """Return a photo of 4000x3000 pixels with a drawing of a tenth of its width at `corner`."""
    sheet = noise(4000, 3000, seed=1).point(lambda level: 225 + level // 16)
    ink = drawing.convert("L").resize((400, 400), Image.Resampling.BICUBIC)
    sheet.paste((40, 40, 60), corner, ink.point(lambda level: 255 - level))
    return encoded(sheet, "JPEG", quality=90)


def test_small_digit_on_a_large_sheet_gets_the_same_prediction(test_data: Path) -> None:
    paths = sorted((test_data / "digits" / "mouse_drawn").glob("*/*"))[::3]
    corners = [(60, 60), (3500, 2500), (1800, 1300), (3300, 100)]
    images = [on_a_large_sheet(Image.open(path), corners[i % 4]) for i, path in enumerate(paths)]
    assert len(images) >= 10
    # One of them is ambiguous: a 1 or a 7.
    assert len(changed_predictions(artifact.read(ROOT / "models" / "mnist-cnn"), images)) <= 1
