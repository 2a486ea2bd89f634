"""Explanations: which part of the image gets the heat, within the time limit."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.inference import explain, runtimes
from backend.inference.classifier import Classifier
from backend.inference.engine import Load
from backend.inference.errors import ClosedError, ImageError
from backend.inference.explain import Explanation
from backend.inference.models import artifact
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats, Region
from tests.fake_models import DIGITS, GRAY, GrayRuntime, fake_loader, gray, write_model
from tests.images import encoded, seven
from tests.inference.cam_network import LABELS, make_network
from tests.inference.helpers import gather_results, wait_until
from training.package.activation_map import add_activation_map

pytestmark = pytest.mark.anyio

PHOTO = PhotoPreprocess(resize=32, crop=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
METHODS = ("class activation map", "occlusion")
ORIENTATION = 0x0112  # EXIF tag
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # from the upright image to the stored one


class InkRuntime:
    """Says 1 the more surely, the more ink there is; `on_batch` is called before each batch."""

    name = "ink"
    concurrent = False

    def __init__(self) -> None:
        self.inputs = 0
        self.max_inputs = 10**9

    def __call__(self, batch: Floats) -> Floats:
        self.inputs += len(batch)
        if self.inputs > self.max_inputs:
            raise TimeoutError
        ink = batch.reshape(len(batch), -1).mean(axis=1)
        logits = np.zeros((len(batch), 10), dtype=np.float32)
        logits[:, 1] = 5 + ink
        return logits


@contextmanager
def opened(folder: Path, load: Load, **options: Any) -> Iterator[Classifier]:
    classifier = Classifier(artifact.read(folder), load, **options)
    try:
        yield classifier
    finally:
        classifier.close()


def write_network(folder: Path, method: str) -> Path:
    """Write a model that finds red or green, with or without class activation maps."""
    network = make_network()
    if method == METHODS[0]:
        add_activation_map(network)
    model = write_model(folder, labels=LABELS, preprocess=PHOTO)
    onnx.save(network, model / artifact.ONNX)
    artifact.write_manifest(model, artifact.read_manifest(model))
    return model


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def photos(tmp_path: Path, method: str) -> Iterator[Classifier]:
    folder = write_network(tmp_path, method)
    with opened(folder, partial(runtimes.load, artifact.read(folder), "onnx")) as classifier:
        yield classifier


@pytest.fixture
def digits(tmp_path: Path) -> Iterator[Classifier]:
    folder = write_model(tmp_path, preprocess=DigitPreprocess(), labels=DIGITS)
    with opened(folder, partial(fake_loader(InkRuntime()), artifact.read(folder))) as classifier:
        yield classifier


async def explained(classifier: Classifier, data: bytes) -> Explanation:
    found = await classifier.explain(data, await classifier.classify(data), 60)
    assert found is not None
    return found


def read(found: Explanation) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(found.heatmap))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def box_of(heat: NDArray[np.uint8], minimum: int = 128) -> Region:
    """Return the box around the heat in fractions of the image."""
    ys, xs = np.nonzero(heat >= minimum)
    height, width = heat.shape
    return Region(
        xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height
    )


def landscape(*, x: int = 60, y: int = 10) -> Image.Image:
    """Return a blue image of 400x300 with a red square of 60x60 at (x, y)."""
    image = Image.new("RGB", (400, 300), "blue")
    ImageDraw.Draw(image).rectangle((x, y, x + 59, y + 59), fill="red")
    return image


async def test_heat_is_where_the_object_is(photos: Classifier, method: str) -> None:
    found = await explained(photos, encoded(landscape()))
    assert (found.method, found.label) == (method, "red")
    heat = read(found)
    assert heat.shape == (300, 400)
    assert heat.max() == 255
    left, top, right, bottom = box_of(heat)
    assert 45 / 400 <= left < 80 / 400
    assert 0 <= top < 30 / 300
    assert 110 / 400 < right < 170 / 400
    assert 60 / 300 < bottom < 110 / 300


async def test_heat_belongs_to_the_predicted_label(photos: Classifier) -> None:
    image = landscape()
    ImageDraw.Draw(image).rectangle((200, 200, 339, 289), fill=(0, 255, 0))
    found = await explained(photos, encoded(image))
    assert found.label == "green"
    assert box_of(read(found)).left > 170 / 400


@pytest.mark.parametrize("orientation", TURNS)
async def test_heat_map_is_upright(photos: Classifier, orientation: int) -> None:
    image, turn = landscape(), TURNS[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = image if turn is None else image.transpose(turn)
    heat = read(await explained(photos, encoded(stored, "JPEG", exif=exif.tobytes())))
    assert heat.shape == (300, 400)
    assert box_of(heat).right < 170 / 400
    assert box_of(heat).bottom < 110 / 300


async def test_image_outside_the_crop_has_no_heat(photos: Classifier) -> None:
    image = Image.new("RGB", (400, 100), "blue")
    image.paste("red", (0, 0, 400, 50))
    heat = read(await explained(photos, encoded(image)))
    assert heat[10:30, 155:245].min() > 100
    assert heat[:, :149].max() == heat[:, 251:].max() == 0


async def test_large_image_has_a_heat_map_of_512_pixels(photos: Classifier) -> None:
    photo = landscape().resize((3000, 2250))
    assert read(await explained(photos, encoded(photo, "JPEG"))).shape == (384, 512)
    line = encoded(Image.new("RGB", (3000, 2), "red"))
    assert read(await explained(photos, line)).shape == (1, 512)


async def test_activation_map_does_not_change_the_classification(tmp_path: Path) -> None:
    data, found = encoded(landscape()), []
    for method in METHODS:
        folder = write_network(tmp_path / method, method)
        with opened(folder, partial(runtimes.load, artifact.read(folder), "onnx")) as classifier:
            found.append((await classifier.classify(data)).probabilities)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("side", [40, 900])
async def test_heat_of_a_digit_is_on_its_strokes(digits: Classifier, side: int) -> None:
    """The digit is a small part of the image, so it is searched at several resolutions."""
    image = Image.new("RGB", (3 * side, 2 * side), "white")
    image.paste(seven(side), (2 * side, side))
    heat = read(await explained(digits, encoded(image)))
    assert heat.shape == (round(min(512, 3 * side) * 2 / 3), min(512, 3 * side))
    assert heat.max() == 255
    box = box_of(heat, 64)
    expected = Region((2 + 0.24) / 3, (1 + 0.21) / 2, (2 + 0.76) / 3, (1 + 0.84) / 2)
    np.testing.assert_allclose(box, expected, atol=0.03)


async def test_heat_of_a_digit_on_a_sheet_is_on_its_strokes(digits: Classifier) -> None:
    image = Image.new("RGB", (600, 400), (60, 50, 40))
    image.paste(seven(180), (360, 60))
    box = box_of(read(await explained(digits, encoded(image))), 64)
    expected = Region(400 / 600, 98 / 400, 498 / 600, 212 / 400)
    np.testing.assert_allclose(box, expected, atol=0.04)


async def test_blank_image_has_no_heat(digits: Classifier) -> None:
    heat = read(await explained(digits, encoded(Image.new("RGB", (80, 60), "white"))))
    assert heat.shape == (60, 80)
    assert heat.max() == 0


async def test_time_limit_ends_occlusion_with_a_coarser_map(tmp_path: Path) -> None:
    """The forward passes of the fine grid take too long: the coarse map is returned."""
    folder = write_model(tmp_path, preprocess=DigitPreprocess(), labels=DIGITS)
    runtime, data = InkRuntime(), encoded(seven())
    with opened(folder, partial(fake_loader(runtime), artifact.read(folder))) as classifier:
        result = await classifier.classify(data)
        before = runtime.inputs
        fine = await classifier.explain(data, result)
        inputs = runtime.inputs - before
        runtime.max_inputs = runtime.inputs + inputs // 2
        coarse = await classifier.explain(data, result)
        runtime.max_inputs = runtime.inputs
        assert await classifier.explain(data, result) is None
    assert fine is not None
    assert coarse is not None
    assert coarse.heatmap != fine.heatmap
    assert read(coarse).max() == 255


async def test_no_time_returns_no_explanation(digits: Classifier) -> None:
    data = encoded(seven())
    assert await digits.explain(data, await digits.classify(data), 0) is None


async def test_bad_image_and_closed_classifier_raise(digits: Classifier) -> None:
    data = encoded(seven())
    result = await digits.classify(data)
    with pytest.raises(ImageError):
        await digits.explain(b"not an image", result)
    digits.close()
    with pytest.raises(ClosedError):
        await digits.explain(data, result)


def test_region_beyond_the_image_is_cut_off() -> None:
    """A crop larger than the image shows its padding, which is no part of the heat map."""
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[2, 2] = 1
    png = explain.render(heat, Region(-0.5, -0.5, 1.5, 1.5), (40, 40))
    levels = np.asarray(Image.open(io.BytesIO(png)))
    assert levels.shape == (40, 40)
    assert levels[30, 30] == levels.max() == 255
    assert levels[5, 5] < 10


async def test_explanations_take_one_place_in_the_queue(tmp_path: Path) -> None:
    folder = write_model(tmp_path, preprocess=GRAY)
    runtime, data = GrayRuntime(), gray(3)
    with opened(folder, partial(fake_loader(runtime), artifact.read(folder))) as classifier:
        result = await classifier.classify(data)
        runtime.hold()
        explaining = [asyncio.ensure_future(classifier.explain(data, result, 60)) for _ in range(5)]
        await wait_until(lambda: runtime.batches)
        await asyncio.sleep(0.05)
        places = len(runtime.batches) + classifier.queued
        runtime.release()
        assert places == 1
        assert None not in await gather_results(*explaining)
