"""A file becomes one input: in scaled decoding from as few pixels as the model needs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.inference.decoder import Decoder
from backend.inference.errors import BrokenImageError, EmptyImageError, ImageTooLargeError
from backend.inference.images import loading
from backend.inference.images.image_reader import ImageReader
from backend.inference.preprocessing.digits import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from tests.fake_models import GRAY, gray, digit_in
from tests.images import encoded, noise, seven

PIXELS = 50_000_000
MEGAPIXELS_12 = encoded(noise(4000, 3000), "JPEG")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The size of every picture as it comes out of its codec."""
    sizes = []
    load_rgb = loading.load_rgb

    def load(image: Image.Image) -> Image.Image:
        found = load_rgb(image)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(loading, "load_rgb", load)
    return sizes


def decoder(spec: Preprocess, *, scaled: bool = True) -> Decoder:
    return Decoder(spec, ImageReader(PIXELS), scaled=scaled)


def side(shorter: int) -> PhotoPreprocess:
    return PhotoPreprocess(resize=shorter, crop=(shorter, shorter))


@pytest.mark.parametrize(
    ("spec", "data", "size"),
    [
        (side(256), MEGAPIXELS_12, (500, 375)),
        (side(500), MEGAPIXELS_12, (1000, 750)),
        (side(1000), MEGAPIXELS_12, (2000, 1500)),
        (side(2000), MEGAPIXELS_12, (4000, 3000)),
        (PhotoPreprocess(resize=(100, 256), crop=(100, 256)), MEGAPIXELS_12, (500, 375)),
        (DigitPreprocess(), MEGAPIXELS_12, (2000, 1500)),
        (side(256), encoded(noise(2000, 1500)), (2000, 1500)),
        (side(256), encoded(noise(2000, 1500), "WEBP"), (2000, 1500)),
        (PhotoPreprocess(resize=None), MEGAPIXELS_12, (4000, 3000)),
        (side(64), encoded(noise(4000, 3000).convert("L"), "JPEG"), (500, 375)),
        (side(64), encoded(noise(4000, 3000), "JPEG", progressive=True), (500, 375)),
        (side(64), encoded(noise(1000, 800).convert("CMYK"), "JPEG"), (125, 100)),
        (side(64), encoded(noise(1000, 800), "MPO"), (125, 100)),
    ],
)
def test_only_a_jpeg_is_decoded_small_and_only_as_small_as_the_model_allows(
    spec: Preprocess, data: bytes, size: tuple[int, int], decoded: list[tuple[int, int]]
) -> None:
    assert decoder(spec).decode(data).rows.shape == (1, *spec.input_shape)
    assert decoded == [size]


def test_scaled_decoding_can_be_turned_off(decoded: list[tuple[int, int]]) -> None:
    decoder(side(256), scaled=False).decode(MEGAPIXELS_12)
    assert decoded == [(4000, 3000)]


@settings(max_examples=150, deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000), least=st.integers(1, 600))
def test_no_side_becomes_shorter_than_asked(width: int, height: int, least: int) -> None:
    image = loading.open_image(encoded(Image.new("L", (width, height)), "JPEG"), max_pixels=PIXELS)
    loading.reduce(image, least)
    assert min(image.size) >= min(least, width, height)
    assert min(image.size) <= 2 * least or min(image.size) in {
        min(width, height),
        -(-min(width, height) // 8),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_photo_that_lies_on_its_side_comes_out_as_in_full(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(1600, 1200), "JPEG", exif=exif, quality=95)
    spec = PhotoPreprocess(resize=64, crop=(64, 64), mean=(0,) * 3, std=(1,) * 3)
    small, full = (decoder(spec, scaled=scaled).decode(data).rows for scaled in (True, False))
    assert np.abs(small - full).mean() < 0.01
    other = 1 if orientation != 1 else 3
    exif[0x0112] = other
    turned = decoder(spec).decode(encoded(noise(1600, 1200), "JPEG", exif=exif, quality=95)).rows
    assert np.abs(small - turned).mean() > 0.05


def test_a_tiny_picture_for_a_small_model_is_decoded_at_once() -> None:
    found = decoder(GRAY).decode_tiny(gray(7))
    assert found is not None
    assert found.rows.shape == (1, 1, 8, 8)
    assert digit_in(found.rows) == 7
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (GRAY, gray(7, side=65)),  # many pixels in few bytes
        (GRAY, encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "BMP") + bytes(5_000)),
        (side(256), gray(7)),  # the input is large
    ],
)
def test_any_other_is_left_to_a_thread(spec: Preprocess, data: bytes) -> None:
    assert decoder(spec).decode_tiny(data) is None
    assert decoder(spec).decode(data).rows.shape == (1, *spec.input_shape)


def test_a_bad_tiny_file_says_so() -> None:
    with pytest.raises(EmptyImageError):
        decoder(GRAY).decode_tiny(b"")
    with pytest.raises(BrokenImageError):
        decoder(GRAY).decode_tiny(encoded(seven())[:100])
    with pytest.raises(ImageTooLargeError):
        Decoder(GRAY, ImageReader(100)).decode_tiny(gray(7, side=11))


def test_a_tiny_picture_waits_for_no_large_one() -> None:
    reader = ImageReader(memory=1_000_000)
    with reader.read(encoded(noise(300, 300))):  # nearly all of it
        found = Decoder(GRAY, reader).decode_tiny(gray(7))
    assert found is not None
    assert found.rows.shape[0] == 1
