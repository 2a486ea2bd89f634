"""Preprocessing of digits: any image becomes a field like those of MNIST."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageOps
from pydantic import ValidationError
from sklearn.datasets import load_digits

from backend.inference.preprocessing.digit_crop import (
    DigitPreprocess,
    find_digit,
    find_digit_and_penalty,
    normalize,
)
from backend.inference.preprocessing.model_input import preprocess
from tests.images import seven

SPEC = DigitPreprocess()
Field = NDArray[np.uint8]


def correlation(first: Field, second: Field) -> float:
    """Return the correlation of two fields: 1 for equal ones, 0 for unrelated ones."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def box_size(field: Field) -> tuple[int, int]:
    rows, columns = field.any(axis=1), field.any(axis=0)
    return int(np.ptp(np.flatnonzero(rows))) + 1, int(np.ptp(np.flatnonzero(columns))) + 1


EXPECTED = find_digit(seven(200), SPEC)


def test_digit_fits_the_box_and_is_centered_by_mass() -> None:
    assert EXPECTED.shape == (28, 28)
    assert EXPECTED.dtype == np.uint8
    assert max(box_size(EXPECTED)) == 20
    mass = EXPECTED.astype(float)
    rows, columns = np.indices(mass.shape)
    for axis in (rows, columns):
        assert abs((axis * mass).sum() / mass.sum() - 14) <= 0.6  # as in MNIST


def test_ink_is_white_on_black() -> None:
    assert EXPECTED[0, 0] == 0
    assert EXPECTED.max() == 255


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("white", "black"),
        ("#444", "#999"),
        ("#888", "#bbb"),
        ("red", "white"),
        ("#06c", "#ff9"),
        ("yellow", "#114"),
    ],
)
def test_colors_of_ink_and_paper_do_not_matter(ink: str, paper: str) -> None:
    assert correlation(find_digit(seven(200, ink=ink, paper=paper), SPEC), EXPECTED) > 0.95


@pytest.mark.parametrize("size", [28, 40, 64, 500, 3000])
def test_image_size_does_not_matter(size: int) -> None:
    assert correlation(find_digit(seven(size), SPEC), EXPECTED) > 0.75


@pytest.mark.parametrize("place", [(0, 0), (600, 10), (10, 700), (650, 720)])
def test_position_on_a_large_page_does_not_matter(place: tuple[int, int]) -> None:
    page = Image.new("RGB", (900, 950), "white")
    page.paste(seven(200), place)
    assert correlation(find_digit(page, SPEC), EXPECTED) > 0.8


def test_specks_are_removed() -> None:
    image = seven(200)
    draw = ImageDraw.Draw(image)
    for x, y in ((5, 5), (190, 10), (10, 190), (195, 195)):
        draw.rectangle((x, y, x + 2, y + 2), fill="black")
    assert correlation(find_digit(image, SPEC), EXPECTED) > 0.95


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_mode_of_a_gray_image_does_not_matter(mode: str) -> None:
    np.testing.assert_array_equal(find_digit(seven(200).convert(mode), SPEC), EXPECTED)


@pytest.mark.parametrize("size", [28, 200])
def test_image_is_not_modified(size: int) -> None:
    for image in (seven(size), seven(size, ink="red"), seven(size).convert("L")):
        before = image.tobytes()
        find_digit(image, SPEC)
        assert image.tobytes() == before


def test_detached_stroke_is_kept() -> None:
    image = Image.new("L", (100, 100), 255)
    draw = ImageDraw.Draw(image)
    draw.line((30, 20, 30, 85), fill=0, width=8)
    draw.line((50, 20, 80, 20), fill=0, width=8)  # detached, like the bar of a 5
    assert find_digit(image, SPEC)[:, 18:].any()


def test_uneven_light_is_removed() -> None:
    light = np.linspace(1.0, 0.55, 300)[np.newaxis, :, np.newaxis]
    shaded = (np.asarray(seven(300, paper="#eee")) * light).astype(np.uint8)
    assert correlation(find_digit(Image.fromarray(shaded), SPEC), EXPECTED) > 0.85


def test_shadow_across_the_paper_is_removed() -> None:
    shaded = np.asarray(seven(300, paper="#ddd")).copy()
    shaded[:, 200:] = (shaded[:, 200:] * 0.6).astype(np.uint8)
    assert (
        correlation(find_digit(Image.fromarray(shaded), SPEC), find_digit(seven(300), SPEC)) > 0.7
    )


def test_ruled_lines_are_removed() -> None:
    page = seven(300)
    ruled = np.asarray(page).copy()
    ruled[20::40] = np.minimum(ruled[20::40], 160)
    assert correlation(find_digit(Image.fromarray(ruled), SPEC), find_digit(page, SPEC)) > 0.95


@pytest.mark.parametrize("level", [110, 160, 200])
def test_dark_squared_paper_is_removed(level: int) -> None:
    page = np.asarray(seven(400)).copy()
    for lines in (page[20::28], page[21::28], page[:, 20::28], page[:, 21::28]):
        np.minimum(lines, level, out=lines)
    page[..., 2] |= 40  # bluish ink and lines
    assert correlation(find_digit(Image.fromarray(page), SPEC), find_digit(seven(400), SPEC)) > 0.9


@pytest.mark.parametrize("width", [400, 2500, 9000])
def test_digit_in_a_strip_is_found(width: int) -> None:
    strip = Image.new("RGB", (width, 40), "#eee")
    strip.paste(seven(36, paper="#eee"), (width // 3, 2))
    assert correlation(find_digit(strip, SPEC), EXPECTED) > 0.75
    upright = seven(36, paper="#eee").transpose(Image.Transpose.ROTATE_90)
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    assert correlation(find_digit(turned, SPEC), find_digit(upright, SPEC)) > 0.9


@pytest.mark.parametrize("turn", [0, 5])
@pytest.mark.parametrize("desk", [30, 90])
def test_sheet_on_a_dark_desk_is_cropped(desk: int, turn: int) -> None:
    photo = Image.new("RGB", (700, 750), (desk, desk, desk))
    sheet = seven(360, paper="#eee").convert("RGBA").rotate(turn, expand=True)
    photo.paste(sheet, (150, 170), sheet)
    expected = find_digit(seven(360).rotate(turn, fillcolor="white"), SPEC)
    assert correlation(find_digit(photo, SPEC), expected) > 0.85


def test_small_digit_on_a_sheet_on_a_desk_keeps_its_resolution() -> None:
    photo = Image.new("RGB", (900, 900), "#333")
    photo.paste("#eee", (200, 200, 700, 700))
    photo.paste(seven(100, paper="#eee"), (280, 500))
    assert correlation(find_digit(photo, SPEC), EXPECTED) > 0.85


@pytest.mark.parametrize("size", [28, 280])
@pytest.mark.parametrize(("ink", "paper"), [("black", "white"), ("white", "black")])
def test_border_around_the_image_is_removed(ink: str, paper: str, size: int) -> None:
    image = seven(size, ink=ink, paper=paper)
    expected = find_digit(image, SPEC)
    ImageDraw.Draw(image).rectangle(
        (0, 0, size - 1, size - 1), outline=ink, width=max(1, size // 93)
    )
    assert correlation(find_digit(image, SPEC), expected) > 0.85


@pytest.mark.parametrize("turn", [0, 2])
@pytest.mark.parametrize("frame", [(10, 10, 289, 289), (55, 45, 245, 265)])
def test_frame_around_the_digit_is_removed(frame: tuple[int, int, int, int], turn: int) -> None:
    page = seven(300)
    expected = find_digit(page.rotate(turn, fillcolor="white"), SPEC)
    ImageDraw.Draw(page).rectangle(frame, outline="black", width=4)
    assert correlation(find_digit(page.rotate(turn, fillcolor="white"), SPEC), expected) > 0.85


def test_border_of_uneven_width_is_removed() -> None:
    expected = find_digit(seven(280), SPEC)
    image = Image.new("RGB", (280, 280), "black")
    image.paste(seven(280).crop((1, 1, 276, 277)), (1, 1))
    assert correlation(find_digit(image, SPEC), expected) > 0.9


def test_angular_zero_is_not_a_frame() -> None:
    page = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(page).rectangle((60, 40, 140, 160), outline=0, width=8)
    field = find_digit(page, SPEC)
    assert max(box_size(field)) == 20
    assert not field[10:18, 12:16].any()


def test_angular_eight_is_not_a_frame() -> None:
    page = Image.new("L", (200, 200), 255)
    draw = ImageDraw.Draw(page)
    draw.rectangle((60, 40, 140, 160), outline=0, width=8)
    draw.line((60, 100, 140, 100), fill=0, width=8)
    assert find_digit(page, SPEC)[:, 14].astype(bool).sum() < 14
    assert max(box_size(find_digit(page, SPEC))) == 20
    assert min(box_size(find_digit(page, SPEC))) > 10


def test_vertical_ruled_lines_are_removed() -> None:
    page = seven(300)
    squared = np.asarray(page).copy()
    for column in (20, 21):
        squared[:, column::40] = np.minimum(squared[:, column::40], 150)
    assert correlation(find_digit(Image.fromarray(squared), SPEC), find_digit(page, SPEC)) > 0.95


def test_shadow_larger_than_the_digit_is_removed() -> None:
    page = Image.new("L", (400, 400), 235)
    page.paste(seven(60, paper="#ebebeb").convert("L"), (330, 330))
    ImageDraw.Draw(page).polygon([(0, 0), (150, 0), (0, 240)], fill=90)
    assert correlation(find_digit(page, SPEC), EXPECTED) > 0.75


def test_underline_is_removed() -> None:
    page = seven(200)
    ImageDraw.Draw(page).line((30, 184, 170, 180), fill="black", width=6)
    field = find_digit(page, SPEC)
    # The center of mass may be rounded to the next pixel.
    assert max(correlation(np.roll(field, shift, 1), EXPECTED) for shift in (-1, 0, 1)) > 0.95


def test_detached_foot_of_a_one_is_kept() -> None:
    page = Image.new("L", (200, 200), 255)
    draw = ImageDraw.Draw(page)
    draw.line((100, 20, 100, 160), fill=0, width=12)
    draw.line((60, 170, 140, 170), fill=0, width=12)
    assert find_digit(page, SPEC)[:, 10:18].all(axis=1).any()


def test_digit_that_fills_the_image_keeps_its_bars() -> None:
    filled = seven(200).crop(ImageChops.invert(seven(200)).getbbox())
    assert correlation(find_digit(filled, SPEC), EXPECTED) > 0.9


def test_shape_at_the_border_is_removed() -> None:
    page = Image.new("RGB", (400, 400), "#ddd")
    page.paste(seven(200, paper="#ddd"), (150, 150))
    ImageDraw.Draw(page).polygon([(0, 0), (110, 0), (0, 110)], fill="#222")
    assert correlation(find_digit(page, SPEC), EXPECTED) > 0.9


def test_sensor_noise_is_removed() -> None:
    noisy = np.asarray(seven(300, paper="#ddd"), dtype=float)
    noisy += np.random.default_rng(0).normal(0, 8, noisy.shape)
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    assert correlation(find_digit(image, SPEC), EXPECTED) > 0.85


def test_thin_strokes_are_thickened() -> None:
    image = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(image).line([(100, 80), (300, 80), (180, 340)], fill=0, width=3)
    assert find_digit(image, SPEC).max() >= 200


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("color", ["white", "black", "#7f7f7f"])
def test_blank_image_becomes_a_blank_field(mode: str, color: str) -> None:
    assert not find_digit(Image.new(mode, (50, 40), color), SPEC).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 5000), (5000, 1), (10_000, 2), (37, 1000)])
def test_extreme_sizes_are_supported(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for image in (Image.fromarray(pixels), Image.new("RGB", size)):
        field = find_digit(image, SPEC)
        assert field.shape == (28, 28)


def test_normalize_scales_pixels_without_segmentation() -> None:
    pixels = np.zeros((2, 28, 28), dtype=np.uint8)
    pixels[1, 0, 0] = 255
    inputs = normalize(pixels, SPEC)
    assert inputs.shape == (2, 1, 28, 28)
    assert inputs.dtype == np.float32
    assert inputs[0, 0, 0, 0] == pytest.approx(-0.1307 / 0.3081, abs=1e-5)
    assert inputs[1, 0, 0, 0] == pytest.approx((1 - 0.1307) / 0.3081, abs=1e-5)


def test_preprocess_returns_one_normalized_input() -> None:
    prepared = preprocess(seven(), SPEC)
    assert prepared.shape == SPEC.input_shape == (1, 28, 28)
    np.testing.assert_array_equal(prepared, normalize(find_digit(seven(), SPEC)[None], SPEC)[0])


def test_mnist_digits_are_nearly_unchanged(test_data: Path) -> None:
    raw = gzip.decompress((test_data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    digits = np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(-1, 28, 28)[:200]
    correlations = [
        correlation(find_digit(Image.fromarray(digit), SPEC), digit) for digit in digits
    ]
    assert np.median(correlations) > 0.95
    assert min(correlations) > 0.6


@pytest.mark.parametrize("fields", [{"std": 0}, {"box": 30}, {"size": 0}, {"surprise": 1}])
def test_invalid_spec_raises_validation_error(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DigitPreprocess.model_validate(fields)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("lean", range(-40, 41, 10))
def test_thin_line_is_found_at_any_angle(width: int, lean: int) -> None:
    page = Image.new("RGB", (280, 280), "white")
    ImageDraw.Draw(page).line((140 + lean, 50, 140 - lean, 230), fill="black", width=width)
    assert find_digit(page, SPEC).any()


def penalty(image: Image.Image) -> float:
    """Return the log-odds that the surroundings of the digit add to the score."""
    return find_digit_and_penalty(image, SPEC)[1]


def test_plain_ruled_and_unevenly_lit_paper_have_no_penalty() -> None:
    page = np.asarray(seven(300, paper="#eee"))
    ruled = page.copy()
    ruled[20::40] = np.minimum(ruled[20::40], 160)
    light = np.linspace(1.0, 0.55, 300)[np.newaxis, :, np.newaxis]
    for pixels in (page, ruled, (page * light).astype(np.uint8)):
        assert penalty(Image.fromarray(pixels)) < 0.4


def test_scene_around_the_digit_adds_a_penalty() -> None:
    scene = seven(300, paper="#999")
    draw = ImageDraw.Draw(scene)
    rng = np.random.default_rng(0)
    for x, y in rng.integers(0, 300, (60, 2)).tolist():
        level = int(rng.integers(60, 255))
        draw.ellipse((x, y, x + 25, y + 25), fill=(level, level, level))
    scene.paste(seven(300, ink="#000"), mask=ImageChops.invert(seven(300).convert("L")))
    assert penalty(scene) > 1.2


def test_small_and_blank_images_have_no_penalty() -> None:
    assert penalty(seven(28)) == 0
    assert penalty(Image.new("RGB", (200, 200), "white")) == 0


@pytest.mark.parametrize("is_dark", [False, True])
def test_digit_that_fills_the_image_is_read_like_one_with_a_margin(is_dark: bool) -> None:
    """In tight crops, as in the USPS and UCI datasets, the strokes reach the edges."""
    similar = 0
    for ink in load_digits().images[:40]:
        pixels = (255 - 15.9 * ink).astype(np.uint8)
        padded = np.pad(pixels, 2, constant_values=255)
        images = [Image.fromarray(each) for each in (pixels, padded)]
        if is_dark:
            images = [ImageOps.invert(each) for each in images]
        tight, spacious = (
            find_digit(each.resize((16 * each.width,) * 2, Image.Resampling.BICUBIC), SPEC)
            for each in images
        )
        similar += correlation(tight, spacious) > 0.9
    assert similar >= 34
