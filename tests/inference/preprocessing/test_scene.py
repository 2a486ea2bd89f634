"""The network that segments scenes gets inputs of a bounded size."""

import numpy as np
import pytest
from PIL import Image

from backend.inference.preprocessing import scene
from backend.inference.preprocessing.digit_crop import DigitPreprocess, find_digit_and_penalty
from tests.images import seven


@pytest.mark.parametrize("size", [(96, 96), (300, 200), (30, 900), (1, 30_000), (65_000, 1)])
def test_input_of_the_network_is_bounded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    areas = []
    run = scene._run

    def record(gray: Image.Image, size: tuple[int, int]) -> tuple[scene.Levels, scene.Levels]:
        areas.append(size[0] * size[1])
        return run(gray, size)

    monkeypatch.setattr(scene, "_run", record)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    find_digit_and_penalty(Image.fromarray(noise), DigitPreprocess())
    assert areas
    assert max(areas) <= 1.5 * (2 * 96) ** 2


def test_strokes_in_uneven_light_are_found_with_their_box() -> None:
    light = np.linspace(1.0, 0.5, 300)[np.newaxis]
    page = Image.fromarray((np.asarray(seven(300).convert("L")) * light).astype(np.uint8))
    strokes = scene.find_in_scene(page, page.reduce(2))
    assert strokes is not None
    left, top, right, bottom = strokes.box
    assert (left, top, right, bottom) == pytest.approx((84, 63, 228, 246), abs=6)
    assert strokes.ink.max() == 255
    assert strokes.ood_penalty < 1


def test_nothing_is_found_on_empty_paper() -> None:
    light = np.linspace(240, 120, 200)[np.newaxis].repeat(200, axis=0)
    page = Image.fromarray(light.astype(np.uint8))
    assert scene.find_in_scene(page, page) is None
