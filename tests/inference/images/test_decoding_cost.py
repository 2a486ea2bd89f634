"""Estimated cost of decoding, from the header of a file."""

import pytest
from PIL import Image

from backend.inference.images import opening
from backend.inference.images.decoding_cost import estimate_cost
from backend.inference.images.memory_cost import estimate_memory
from tests.images import encoded, noise, uniform_webp
from tests.inference.images.bombs import jpeg_partial_scan

MAX_PIXELS = 50_000_000
SIZE = 320, 200
OPAQUE = Image.new("RGB", SIZE, "white")
TRANSPARENT = Image.new("RGBA", SIZE, (0, 0, 0, 90))


@pytest.mark.parametrize(
    ("image", "form", "options"),
    [
        (OPAQUE, "JPEG", {}),
        (OPAQUE, "JPEG", {"progressive": True}),
        (OPAQUE, "JPEG", {"exif": b"Exif\0\0"}),
        (OPAQUE, "PNG", {}),
        (TRANSPARENT, "PNG", {}),
        (OPAQUE.convert("I;16"), "PNG", {}),
        (OPAQUE, "WEBP", {}),
        (OPAQUE, "WEBP", {"lossless": True}),
        (TRANSPARENT, "WEBP", {}),
        (OPAQUE, "GIF", {}),
        (OPAQUE, "BMP", {}),
    ],
)
@pytest.mark.parametrize("min_side", [None, 50])
def test_estimate_covers_the_memory(
    image: Image.Image, form: str, options: dict[str, object], min_side: int | None
) -> None:
    data = encoded(image, form, **options)
    cost = estimate_cost(data, MAX_PIXELS, min_side)
    opened = opening.open_image(data, max_pixels=MAX_PIXELS, min_side=min_side)
    assert cost.is_certain
    assert estimate_memory(opened) <= cost.memory <= 4 * estimate_memory(opened)
    assert 1e-4 < cost.seconds < 0.02


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (encoded(OPAQUE), encoded(Image.new("L", (3200, 2000)))),
        (encoded(OPAQUE, "JPEG"), encoded(Image.new("L", (3200, 2000)), "JPEG")),
        (encoded(OPAQUE, "GIF"), encoded(Image.new("L", (3200, 2000)), "GIF")),
        (encoded(OPAQUE, "WEBP"), encoded(Image.new("L", (3200, 2000)), "WEBP")),
        (encoded(OPAQUE, "BMP"), encoded(Image.new("L", (3200, 2000)), "BMP")),
        (encoded(OPAQUE, "AVIF"), encoded(Image.new("L", (3200, 2000)), "AVIF", speed=10)),
    ],
    ids=["PNG", "JPEG", "GIF", "WEBP", "BMP", "AVIF"],
)
def test_cost_grows_with_the_pixels_not_the_bytes(small: bytes, large: bytes) -> None:
    costs = [estimate_cost(data, MAX_PIXELS) for data in (small, large)]
    assert costs[1].seconds > 50 * costs[0].seconds
    assert costs[1].memory > 50 * costs[0].memory


def test_webp_of_a_few_bytes_and_49_megapixels_is_expensive() -> None:
    data = uniform_webp(7000)
    assert len(data) == 28
    cost = estimate_cost(data, MAX_PIXELS)
    assert cost.seconds > 1
    assert cost.memory > 800_000_000


def test_progressive_jpeg_costs_more() -> None:
    plain, progressive = (
        estimate_cost(encoded(noise(*SIZE), "JPEG", progressive=each), MAX_PIXELS, 50)
        for each in (False, True)
    )
    assert progressive.seconds > 1.5 * plain.seconds
    assert progressive.memory > plain.memory


def test_every_scan_of_a_progressive_jpeg_costs_time() -> None:
    data = encoded(Image.new("L", (1000, 1000)), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    many = data[:-2] + 900 * last_scan + data[-2:]
    assert estimate_cost(data, MAX_PIXELS, 50).seconds < 0.02
    assert estimate_cost(many, MAX_PIXELS, 50).seconds > 1


@pytest.mark.parametrize("side", [375, 3000])
def test_scaled_decoding_costs_time_for_bytes_and_decoded_pixels(side: int) -> None:
    """A photo of 12 megapixels and 3 MB takes about 30 ms if it is decoded at an eighth."""
    header = encoded(Image.new("RGB", (4000, 3000)), "JPEG")
    cost = estimate_cost(header + bytes(3_000_000 - len(header)), MAX_PIXELS, side)
    assert (cost.seconds < 0.05) == (side == 375)
    assert cost.seconds > 0.025


def test_jpeg_whose_first_scan_lacks_a_component_costs_as_much_as_a_progressive_one() -> None:
    partial = estimate_cost(jpeg_partial_scan(4000), MAX_PIXELS, 50)
    assert partial.seconds > 0.05
    assert partial.memory > 4 * 4000 * 4000


def test_compressed_bmp_costs_time_for_its_runs() -> None:
    plain = bytearray(encoded(Image.new("L", (1000, 1000)), "BMP"))
    compressed = bytes(plain[:30]) + b"\1" + bytes(plain[31:])
    assert estimate_cost(bytes(plain), MAX_PIXELS, 50).seconds < 0.03
    assert estimate_cost(compressed, MAX_PIXELS, 50).seconds > 0.3


def test_bmp_stored_from_top_to_bottom_has_its_height() -> None:
    data = bytearray(encoded(OPAQUE, "BMP"))
    data[22:26] = (-SIZE[1]).to_bytes(4, "little", signed=True)
    assert estimate_cost(bytes(data), MAX_PIXELS) == estimate_cost(
        encoded(OPAQUE, "BMP"), MAX_PIXELS
    )


@pytest.mark.parametrize("form", ["TIFF", "PPM", "ICO", "JPEG2000"])
def test_unknown_size_counts_as_the_maximum(form: str) -> None:
    cost = estimate_cost(encoded(Image.new("RGB", (16, 16)), form), MAX_PIXELS)
    assert not cost.is_certain
    assert cost.seconds > 1
    assert cost.memory > 10 * MAX_PIXELS


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_size_that_may_not_be_that_of_the_image_is_uncertain(form: str) -> None:
    if form == "HEIF":
        data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"ispe" + bytes(4) + b"\0\0\1\0" * 2
    else:
        data = encoded(OPAQUE, form)
    cost = estimate_cost(data, MAX_PIXELS)
    assert not cost.is_certain
    assert cost.seconds < 0.1


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff\xe0\0\x02" * 1000,
        b"\xff\xd8" + b"\xff" * 1000,
        b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IDAT",
        b"RIFF\0\0\0\0WEBPVP9 ",
    ],
)
def test_header_without_a_size_counts_as_the_maximum(data: bytes) -> None:
    assert estimate_cost(data, MAX_PIXELS).seconds > 0.9


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "AVIF", "TIFF"])
def test_cut_file_has_an_estimate(form: str) -> None:
    data = encoded(OPAQUE, form)
    for length in range(min(len(data), 400)):
        assert estimate_cost(data[:length], MAX_PIXELS).seconds >= 0


def test_file_of_no_format_costs_nothing() -> None:
    assert estimate_cost(b"not an image", MAX_PIXELS).seconds == 0


def test_webp_of_a_few_bytes_can_be_opened() -> None:
    assert opening.open_image(uniform_webp(7000), max_pixels=MAX_PIXELS).size == (7000, 7000)
