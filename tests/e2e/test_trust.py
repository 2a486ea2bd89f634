"""What the shipped model promises, kept by the answers of the running service."""

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

Answer = dict[str, Any]
FONTS = ("DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf")
WORDS = "The quick brown fox\njumps over the lazy dog.\nTotal amount due: 1,480.50"


@pytest.fixture(scope="module")
def ask(backend_url: str) -> Iterator[Callable[..., list[Answer]]]:
    with httpx.Client(base_url=backend_url, timeout=60) as client:

        def asked(*pictures: bytes, coverage: str = "0.95") -> list[Answer]:
            answers: list[Answer] = []
            for start in range(0, len(pictures), 500):
                files = [("file", picture) for picture in pictures[start : start + 500]]
                response = client.post(f"/classify/batch?coverage={coverage}", files=files)
                answers += map(json.loads, response.text.splitlines())
            assert len(answers) == len(pictures)
            return answers

        yield asked


def page(size: tuple[int, int] = (240, 240)) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, "white")
    return image, ImageDraw.Draw(image)


def typed(text: str, font: str, size: int) -> bytes:
    face = ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / font), size)
    image, pen = page((500, 240))
    pen.text((40, 30), text, fill="black", font=face)
    return encoded(image)


@pytest.mark.parametrize("font", FONTS)
def test_digits_in_print_are_digits(font: str, ask: Callable[..., list[Answer]]) -> None:
    answers = ask(*(typed(str(digit), font, 120) for digit in range(10)))
    assert [answer["prediction"] for answer in answers] == list("0123456789")
    assert all(answer["in_distribution"] for answer in answers)


@pytest.mark.parametrize("width", [1, 3, 8, 16, 24])
@pytest.mark.parametrize("lean", [0, 12, 30])
def test_a_line_is_a_one(width: int, lean: int, ask: Callable[..., list[Answer]]) -> None:
    image, pen = page()
    pen.line((120 + lean, 40, 120 - lean, 200), fill="black", width=width)
    (answer,) = ask(encoded(image))
    assert (answer["prediction"], answer["in_distribution"]) == ("1", True)


@pytest.mark.parametrize("width", [4, 12, 24])
@pytest.mark.parametrize("wide", [40, 60, 80])
def test_a_ring_is_a_zero(width: int, wide: int, ask: Callable[..., list[Answer]]) -> None:
    image, pen = page()
    pen.ellipse((120 - wide, 40, 120 + wide, 200), outline="black", width=width)
    (answer,) = ask(encoded(image))
    assert (answer["prediction"], answer["in_distribution"]) == ("0", True)


def test_what_is_no_digit_is_called_none(ask: Callable[..., list[Answer]]) -> None:
    colors = ("white", "black", "#777777", "#c03020", "#2040a0")
    blanks = [encoded(Image.new("RGB", (80, 60), color)) for color in colors]
    noises = [encoded(noise(side, side, seed=side)) for side in (28, 64, 200)]
    texts = [typed(WORDS, font, 24) for font in FONTS]
    photographs = [path.read_bytes() for path in (ROOT / "frontend" / "examples").glob("*.jpg")]
    assert len(photographs) == 3
    answers = ask(*blanks, *noises, *texts, *photographs)
    assert [answer["in_distribution"] for answer in answers] == [False] * len(answers)


def test_198_of_200_photographs_are_called_no_digit(
    test_data: Path, ask: Callable[..., list[Answer]]
) -> None:
    photographs = sorted((test_data / "imagenet" / "samples").glob("*.*"))
    assert len(photographs) == 200
    answers = ask(*(path.read_bytes() for path in photographs))
    assert sum(answer["in_distribution"] is False for answer in answers) >= 198


@pytest.fixture(scope="module")
def answered(
    test_data: Path, ask: Callable[..., list[Answer]]
) -> tuple[Digits, dict[str, list[Answer]]]:
    """What is said of MNIST's test digits, dark on white, at each coverage."""
    digits = read_mnist(test_data / "mnist", "test")
    pictures = [png(255 - pixels) for pixels in digits.pixels]
    return digits, {level: ask(*pictures, coverage=level) for level in ("0.9", "0.99")}


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def test_its_percentages_are_off_by_half_a_point_at_most(
    answered: tuple[Digits, dict[str, list[Answer]]],
) -> None:
    digits, answers = answered
    confidence = np.array([answer["confidence"] for answer in answers["0.9"]])
    right = np.array([int(answer["prediction"]) for answer in answers["0.9"]]) == digits.labels
    assert right.mean() >= 0.995
    places = np.minimum((confidence * 15).astype(int), 14)
    gaps = [
        abs(float(right[places == place].sum() - confidence[places == place].sum()))
        for place in range(15)
    ]
    assert sum(gaps) / len(digits) <= 0.005


@pytest.mark.parametrize("level", ["0.9", "0.99"])
def test_sets_hold_the_truth_as_often_as_they_say_and_are_small(
    level: str, answered: tuple[Digits, dict[str, list[Answer]]]
) -> None:
    digits, answers = answered
    sets = [answer["prediction_set"] for answer in answers[level]]
    assert all(answer["coverage"] == float(level) for answer in answers[level])
    held = [str(label) in found for label, found in zip(digits.labels, sets, strict=True)]
    assert np.mean(held) >= float(level)
    assert 1 <= np.mean([len(found) for found in sets]) <= 1.05


def test_one_digit_in_a_hundred_at_most_is_called_none(
    answered: tuple[Digits, dict[str, list[Answer]]],
) -> None:
    _, answers = answered
    assert np.mean([answer["in_distribution"] is False for answer in answers["0.9"]]) <= 0.01
