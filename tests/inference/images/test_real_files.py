"""Files that people really send get the right prediction, or a message that names their type."""

from pathlib import Path

import numpy as np
import pytest

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.errors import UnsupportedImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.images.loading import decode
from backend.inference.models import artifact
from backend.resources.memory import MemoryShares

PREDICTIONS = {
    "photo.heic": "goldfish",
    "photo.avif": "goldfish",
    "photo_lzw.tif": "goldfish",
    "photo_16bit.tif": "goldfish",
    "jpeg_without_EOI.jpg": "goldfish",
    "png_zTXt_1.2MB_workflow.png": "goldfish",
    "png_text_bad_crc.png": "goldfish",
    "gama_linear16.png": "ptarmigan",
    "p3_chiton.png": "chiton",
    "adobergb_goldfinch.png": "goldfinch",
    "cmyk_icc_doberman.jpg": "Dobermann",
}
PROBABILITIES = {  # after conversion to sRGB
    "p3_chiton.png": 0.414,
    "adobergb_goldfinch.png": 0.564,
    "cmyk_icc_doberman.jpg": 0.412,
}
MESSAGES = {
    "bmp_a4r4g4b4.bmp": "This kind of BMP file (16 bits per pixel, an unusual layout",
    "base64.txt": "This is base64 text",
    "scan.pdf": "This is a PDF. Export the page as PNG or JPEG.",
    "seven.svg": "This is an SVG drawing. Export it as PNG or JPEG.",
}


def test_photos_get_the_right_prediction(photo_models: Path, test_data: Path) -> None:
    model = artifact.read(photo_models / "photos")
    runtime = runtimes.load(model, "onnx", threads=1)
    decoder = Decoder(model.manifest.preprocess, ImageReader())
    found = {}
    for name in PREDICTIONS:
        rows = decoder.decode((test_data / "formats" / name).read_bytes()).rows
        scores = np.exp(runtime(rows)[0] - runtime(rows)[0].max())
        found[name] = model.manifest.labels[int(scores.argmax())]
        if name in PROBABILITIES:
            assert abs(scores.max() / scores.sum() - PROBABILITIES[name]) < 0.03, name
    assert found == PREDICTIONS


def test_interlaced_png_of_12_megapixels_is_decoded_with_512_mb(test_data: Path) -> None:
    data = (test_data / "formats" / "interlaced_12.8MP.png").read_bytes()
    reader = ImageReader(memory=MemoryShares.from_limit(512 * 2**20).decoding)
    with reader.read(data) as image:
        assert image.size == (4000, 3200)


@pytest.mark.parametrize("name", MESSAGES)
def test_unsupported_file_is_named(name: str, test_data: Path) -> None:
    with pytest.raises(UnsupportedImageError) as error:
        decode((test_data / "formats" / name).read_bytes())
    assert str(error.value).startswith(MESSAGES[name])
