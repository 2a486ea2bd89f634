"""Accuracy, calibration and out-of-distribution detection of the shipped model."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from tests.conftest import ROOT
from tests.images import encoded, noise
from training.data.digits import Digits, read_mnist

Classification = dict[str, Any]
Classify = Callable[..., list[Classification]]
FONTS = ("DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf")
BATCH_SIZE = 500
TEXT = "The quick brown fox\njumps over the lazy dog.\nTotal amount due: 1,480.50"


@pytest.fixture(scope="module")
def classify(backend_url: str) -> Iterator[Classify]:
    """A function that classifies images through a running backend."""
    with httpx.Client(base_url=backend_url, timeout=60) as client:

        def classify(*images: bytes, coverage: str = "0.95") -> list[Classification]:
            results: list[Classification] = []
            for start in range(0, len(images), BATCH_SIZE):
                files = [("file", image) for image in images[start : start + BATCH_SIZE]]
                response = client.post(
                    f"/classify/batch?model=mnist-cnn&coverage={coverage}", files=files
                )
                results += map(json.loads, response.text.splitlines())
            assert len(results) == len(images)
            return results

        yield classify


def blank_image(size: tuple[int, int] = (240, 240)) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, "white")
    return image, ImageDraw.Draw(image)


def render_text(text: str, font: str, size: int) -> bytes:
    typeface = ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / font), size)
    image, draw = blank_image((500, 240))
    draw.text((40, 30), text, fill="black", font=typeface)
    return encoded(image)


@pytest.mark.parametrize("font", FONTS)
def test_printed_digits_are_recognized(font: str, classify: Classify) -> None:
    results = classify(*(render_text(str(digit), font, 120) for digit in range(10)))
    assert [result["prediction"] for result in results] == list("0123456789")
    assert all(result["in_distribution"] for result in results)


@pytest.mark.parametrize("width", [1, 3, 8, 16, 24])
@pytest.mark.parametrize("slant", [0, 12, 30])
def test_line_is_classified_as_1(width: int, slant: int, classify: Classify) -> None:
    image, draw = blank_image()
    draw.line((120 + slant, 40, 120 - slant, 200), fill="black", width=width)
    (result,) = classify(encoded(image))
    assert (result["prediction"], result["in_distribution"]) == ("1", True)


@pytest.mark.parametrize("width", [4, 12, 24])
@pytest.mark.parametrize("radius", [40, 60, 80])
def test_ring_is_classified_as_0(width: int, radius: int, classify: Classify) -> None:
    image, draw = blank_image()
    draw.ellipse((120 - radius, 40, 120 + radius, 200), outline="black", width=width)
    (result,) = classify(encoded(image))
    assert (result["prediction"], result["in_distribution"]) == ("0", True)


def test_images_without_a_digit_are_out_of_distribution(classify: Classify) -> None:
    colors = ("white", "black", "#777777", "#c03020", "#2040a0")
    blanks = [encoded(Image.new("RGB", (80, 60), color)) for color in colors]
    noises = [encoded(noise(side, side, seed=side)) for side in (28, 64, 200)]
    texts = [render_text(TEXT, font, 24) for font in FONTS]
    photos = [path.read_bytes() for path in (ROOT / "frontend" / "examples").glob("*.jpg")]
    assert len(photos) == 3
    results = classify(*blanks, *noises, *texts, *photos)
    assert [result["in_distribution"] for result in results] == [False] * len(results)


def test_at_least_198_of_200_photos_are_out_of_distribution(
    test_data: Path, classify: Classify
) -> None:
    photos = sorted((test_data / "imagenet" / "samples").glob("*.*"))
    assert len(photos) == 200
    results = classify(*(path.read_bytes() for path in photos))
    assert sum(result["in_distribution"] is False for result in results) >= 198


@pytest.fixture(scope="module")
def mnist_results(
    test_data: Path, classify: Classify
) -> tuple[Digits, dict[str, list[Classification]]]:
    """MNIST's test set, dark on white, and its classifications by coverage."""
    digits = read_mnist(test_data / "mnist", "test")
    images = [encode_png(255 - pixels) for pixels in digits.pixels]
    return digits, {level: classify(*images, coverage=level) for level in ("0.9", "0.99")}


def encode_png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def test_expected_calibration_error_is_at_most_half_a_point(
    mnist_results: tuple[Digits, dict[str, list[Classification]]],
) -> None:
    digits, results = mnist_results
    confidence = np.array([result["confidence"] for result in results["0.9"]])
    correct = np.array([int(result["prediction"]) for result in results["0.9"]]) == digits.labels
    assert correct.mean() >= 0.995
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [
        abs(float(correct[bins == index].sum() - confidence[bins == index].sum()))
        for index in range(15)
    ]
    assert sum(gaps) / len(digits) <= 0.005


@pytest.mark.parametrize("level", ["0.9", "0.99"])
def test_prediction_sets_reach_the_coverage_and_are_small(
    level: str, mnist_results: tuple[Digits, dict[str, list[Classification]]]
) -> None:
    digits, results = mnist_results
    sets = [result["prediction_set"] for result in results[level]]
    assert all(result["coverage"] == float(level) for result in results[level])
    is_covered = [str(label) in labels for label, labels in zip(digits.labels, sets, strict=True)]
    assert np.mean(is_covered) >= float(level)
    assert 1 <= np.mean([len(labels) for labels in sets]) <= 1.05


def test_at_most_1_percent_of_digits_are_out_of_distribution(
    mnist_results: tuple[Digits, dict[str, list[Classification]]],
) -> None:
    _, results = mnist_results
    assert np.mean([result["in_distribution"] is False for result in results["0.9"]]) <= 0.01
