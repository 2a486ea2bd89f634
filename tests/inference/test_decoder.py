"""Decoder: image files to model inputs, with scaled decoding of JPEGs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from backend.inference.decoder import Decoder, SharedImage
from backend.inference.errors import EmptyImageError, ImageTooLargeError, TruncatedImageError
from backend.inference.images import loading, opening
from backend.inference.images.image_reader import ImageReader
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.conftest import FUZZ_FACTOR
from tests.fake_models import GRAY, digit_in, gray
from tests.images import encoded, noise, seven
from tests.inference.images.bombs import DATA, bmp, gif, jpeg_2000_tiles, png, webp, webp_canvas

MAX_PIXELS = 50_000_000
MEGAPIXELS_12 = encoded(noise(4000, 3000), "JPEG")


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The size of every image as it comes out of its codec."""
    sizes = []
    load_rgb = loading.load_rgb

    def load(image: Image.Image, **options: bool) -> Image.Image:
        result = load_rgb(image, **options)
        sizes.append(result.size)
        return result

    monkeypatch.setattr(loading, "load_rgb", load)
    return sizes


def create_decoder(spec: Preprocess, *, scaled: bool = True) -> Decoder:
    return Decoder(spec, ImageReader(MAX_PIXELS), scaled=scaled)


def photo_spec(shorter: int) -> PhotoPreprocess:
    return PhotoPreprocess(resize=shorter, crop=(shorter, shorter))


@pytest.mark.parametrize(
    ("spec", "data", "size"),
    [
        (photo_spec(256), MEGAPIXELS_12, (500, 375)),
        (photo_spec(500), MEGAPIXELS_12, (1000, 750)),
        (photo_spec(1000), MEGAPIXELS_12, (2000, 1500)),
        (photo_spec(2000), MEGAPIXELS_12, (4000, 3000)),
        (PhotoPreprocess(resize=(100, 256), crop=(100, 256)), MEGAPIXELS_12, (500, 375)),
        (DigitPreprocess(), MEGAPIXELS_12, (1000, 750)),
        (photo_spec(256), encoded(noise(2000, 1500)), (2000, 1500)),
        (photo_spec(256), encoded(noise(2000, 1500), "WEBP"), (2000, 1500)),
        (PhotoPreprocess(resize=None), MEGAPIXELS_12, (4000, 3000)),
        (photo_spec(64), encoded(noise(4000, 3000).convert("L"), "JPEG"), (500, 375)),
        (photo_spec(64), encoded(noise(4000, 3000), "JPEG", progressive=True), (500, 375)),
        (photo_spec(64), encoded(noise(1000, 800).convert("CMYK"), "JPEG"), (125, 100)),
        (photo_spec(64), encoded(noise(1000, 800), "MPO"), (125, 100)),
    ],
)
def test_only_jpegs_are_scaled_and_only_as_far_as_the_model_allows(
    spec: Preprocess, data: bytes, size: tuple[int, int], decoded_sizes: list[tuple[int, int]]
) -> None:
    assert create_decoder(spec).decode(data).rows.shape == (1, *spec.input_shape)
    assert decoded_sizes == [size]


def test_scaled_decoding_can_be_disabled(decoded_sizes: list[tuple[int, int]]) -> None:
    create_decoder(photo_spec(256), scaled=False).decode(MEGAPIXELS_12)
    assert decoded_sizes == [(4000, 3000)]


@settings(max_examples=150 * FUZZ_FACTOR, deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000), min_side=st.integers(1, 600))
def test_no_side_becomes_shorter_than_min_side(width: int, height: int, min_side: int) -> None:
    data = encoded(Image.new("L", (width, height)), "JPEG")
    image = opening.open_image(data, max_pixels=MAX_PIXELS, min_side=min_side)
    assert min(image.size) >= min(min_side, width, height)
    assert min(image.size) <= 2 * min_side or min(image.size) in {
        min(width, height),
        -(-min(width, height) // 8),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_scaled_photo_with_exif_orientation_matches_full_decoding(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(1600, 1200), "JPEG", exif=exif, quality=95)
    spec = PhotoPreprocess(resize=64, crop=(64, 64), mean=(0,) * 3, std=(1,) * 3)
    small, full = (
        create_decoder(spec, scaled=scaled).decode(data).rows for scaled in (True, False)
    )
    assert np.abs(small - full).mean() < 0.01
    other = 1 if orientation != 1 else 3
    exif[0x0112] = other
    turned = (
        create_decoder(spec).decode(encoded(noise(1600, 1200), "JPEG", exif=exif, quality=95)).rows
    )
    assert np.abs(small - turned).mean() > 0.05


def test_tiny_image_for_a_small_model_is_decoded() -> None:
    result = create_decoder(GRAY).decode_tiny(gray(7))
    assert result is not None
    assert result.rows.shape == (1, 1, 8, 8)
    assert digit_in(result.rows) == 7
    assert result.seconds > 0


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (GRAY, gray(7, side=65)),  # many pixels in few bytes
        (GRAY, encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "BMP") + bytes(5_000)),
        (photo_spec(256), gray(7)),  # the input is large
    ],
)
def test_other_images_are_not_decoded_as_tiny(spec: Preprocess, data: bytes) -> None:
    assert create_decoder(spec).decode_tiny(data) is None
    assert create_decoder(spec).decode(data).rows.shape == (1, *spec.input_shape)


def test_bad_tiny_file_raises_image_error() -> None:
    with pytest.raises(EmptyImageError):
        create_decoder(GRAY).decode_tiny(b"")
    with pytest.raises(TruncatedImageError):
        create_decoder(GRAY).decode_tiny(encoded(seven())[:100])
    with pytest.raises(ImageTooLargeError):
        Decoder(GRAY, ImageReader(100)).decode_tiny(gray(7, side=11))


@pytest.mark.parametrize(
    "data",
    [
        gif((65535, 65535)),
        gif((7000, 7000), (7000, 7000), disposal=2),
        webp(16383, 16383),
        webp_canvas(7000, 7000),
        bmp(20_000, 2_000, compression=1),
        png(4000, 10_000, pixels=b""),
        jpeg_2000_tiles(255),
        (DATA / "large_frame.avif").read_bytes(),
        b"P6 60 60 255\n" + bytes(500),
    ],
)
def test_small_file_of_unknown_or_large_size_is_not_opened_as_tiny(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_image", None)
    data = data[:4_000]
    assert create_decoder(GRAY).decode_tiny(data) is None


def test_tiny_image_with_a_profile_is_not_decoded_as_tiny() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(seven(28), icc_profile=profile)
    assert create_decoder(GRAY).decode_tiny(data) is None


def test_tiny_image_does_not_wait_for_the_memory_budget() -> None:
    reader = ImageReader(memory=1_000_000)
    with reader.read(encoded(noise(300, 300))):  # nearly the whole budget
        result = Decoder(GRAY, reader).decode_tiny(gray(7))
    assert result is not None
    assert result.rows.shape[0] == 1


def test_image_larger_than_the_budget_for_kept_images_is_not_kept() -> None:
    reader = ImageReader(memory=32_000_000)  # keeps 2 MB
    decoders = [Decoder(spec, reader) for spec in (DigitPreprocess(), photo_spec(256))]
    for side, is_kept in ((700, True), (900, False)):
        shared = SharedImage(encoded(noise(side, side)), decoders)
        shared.decode(decoders[0])
        assert (shared._kept is not None) == is_kept
        shared.close()


@pytest.mark.parametrize("side", [28, 240])
def test_gray_image_gives_the_same_input_as_its_rgb_copy(side: int) -> None:
    decoder = Decoder(DigitPreprocess(), ImageReader())
    gray, rgb = (encoded(seven(side).convert(mode)) for mode in ("L", "RGB"))
    assert np.array_equal(decoder.decode(gray).rows, decoder.decode(rgb).rows)
