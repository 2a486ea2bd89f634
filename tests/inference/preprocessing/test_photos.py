"""Preprocessing of photos equals that of torchvision, apart from rounding."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image, ImageOps
from pydantic import ValidationError

from backend.inference.images.loading import decode
from backend.inference.models import torchvision_compat
from backend.inference.preprocessing.photos import (
    Interpolation,
    PhotoPreprocess,
    photo_region,
    prepare_photo,
)
from tests.images import noise

NO_NORMALIZATION = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def torchvision_input(
    image: Image.Image, spec: PhotoPreprocess
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    transforms = torchvision_compat.load("transforms")
    resize = list(spec.resize) if isinstance(spec.resize, tuple) else spec.resize
    steps = (
        []
        if resize is None
        else [
            transforms.Resize(
                resize, transforms.InterpolationMode(spec.interpolation), antialias=True
            )
        ]
    )
    steps += [transforms.CenterCrop(spec.crop), transforms.ToTensor()]
    steps += [transforms.Normalize(spec.mean, spec.std)]
    prepared: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = transforms.Compose(steps)(
        image
    ).numpy()
    return prepared


def differences(image: Image.Image, spec: PhotoPreprocess) -> np.ndarray[Any, Any]:
    """Return the differences from torchvision of all values, in levels of 255."""
    found: np.ndarray[Any, Any] = np.abs(
        prepare_photo(image, spec) - torchvision_input(image, spec)
    )
    return found * 255


INTERPOLATIONS = get_args(Interpolation)
EXACT = 0.01  # levels; only the normalization in float32 is rounded differently
MAX_SHARE = 0.05  # of the values of an image that differ


def random_pixels(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (224, 224), (80, 60), (351, 974), (974, 351), (47, 53)]
)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (292, 260), ((120, 90), 64)])
def test_pixels_differ_from_torchvision_by_rounding_only(
    size: tuple[int, int],
    interpolation: Interpolation,
    resize: int | tuple[int, int],
    crop: int,
) -> None:
    spec = PhotoPreprocess(
        resize=resize, crop=(crop, crop), interpolation=interpolation, **NO_NORMALIZATION
    )
    found = differences(random_pixels(*size), spec)
    is_exact = interpolation == "nearest" or isinstance(resize, tuple)
    limit = 0 if is_exact else 2  # one level of each pass; two are rare
    assert found.max() < limit + EXACT
    assert (found > EXACT).mean() <= MAX_SHARE


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(37, 700), (1500, 100), (300, 600), (300, 601)])
def test_extreme_aspect_ratio_differs_by_rounding_only(
    size: tuple[int, int], interpolation: Interpolation
) -> None:
    spec = PhotoPreprocess(interpolation=interpolation, **NO_NORMALIZATION)
    found = differences(random_pixels(*size), spec)
    # Of two pixels at the same distance, "nearest" may select either one.
    assert found.max() < 1 + EXACT or interpolation == "nearest"
    assert (found > EXACT).mean() <= MAX_SHARE


@pytest.mark.parametrize("size", [(500, 375), (260, 250), (64, 64), (40, 90)])
def test_crop_without_rounding_is_the_resized_central_square(size: tuple[int, int]) -> None:
    spec = PhotoPreprocess(
        resize=64, crop=(64, 64), crop_rounding="none", interpolation="lanczos", **NO_NORMALIZATION
    )
    image = random_pixels(*size)
    expected = ImageOps.fit(image, (64, 64), Image.Resampling.LANCZOS)
    found = (prepare_photo(image, spec) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    np.testing.assert_array_equal(found, np.asarray(expected))
    region = photo_region(image, spec)
    side = min(size)
    assert region.left == pytest.approx((1 - side / size[0]) / 2, abs=0.01)
    assert region.top == pytest.approx((1 - side / size[1]) / 2, abs=0.01)


def test_crop_without_rounding_is_a_square_of_the_resized_side() -> None:
    with pytest.raises(ValidationError, match="square crop"):
        PhotoPreprocess(resize=256, crop=(224, 224), crop_rounding="none")


def test_large_image_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is estimated without a copy."""
    cropped: list[Image.Image] = []
    crop = Image.Image.crop

    def record(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
        cropped.append(image)
        return crop(image, box)

    image = random_pixels(1250, 900)
    monkeypatch.setattr(Image.Image, "crop", record)
    prepare_photo(image, PhotoPreprocess())
    assert [each.height for each in cropped] == [256]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_only_the_crop_of_a_long_image_is_resampled(
    interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    resize = Image.Image.resize

    def record(image: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *args)

    monkeypatch.setattr(Image.Image, "resize", record)
    for size in ((4000, 20), (20, 4000)):
        prepare_photo(Image.new("RGB", size), PhotoPreprocess(interpolation=interpolation))
    assert len(sizes) == 4
    assert all(width <= 224 and height <= 224 for width, height in sizes)


@pytest.mark.parametrize("resize", [None, (100, 300), 200])
def test_crop_larger_than_the_image_is_padded_as_by_torchvision(
    resize: int | tuple[int, int] | None,
) -> None:
    spec = PhotoPreprocess(resize=resize, **NO_NORMALIZATION)
    assert differences(noise(211, 150), spec).max() < EXACT


def test_real_photos_differ_from_torchvision_by_rounding_only(test_data: Path) -> None:
    paths = sorted((test_data / "imagenet" / "samples").glob("*.JPEG"))[::20]
    assert len(paths) == 10
    for path, interpolation in zip(paths, INTERPOLATIONS * 3, strict=False):
        spec = PhotoPreprocess(interpolation=interpolation, **NO_NORMALIZATION)
        found = differences(decode(path.read_bytes()), spec)
        assert found.max() < 1 + EXACT
        assert (found > EXACT).mean() < 0.01


def test_normalization_agrees_with_torchvision() -> None:
    spec = PhotoPreprocess()
    np.testing.assert_allclose(
        prepare_photo(noise(300, 300), spec),
        torchvision_input(noise(300, 300), spec),
        atol=1e-5,
    )


@pytest.mark.parametrize("level", [0, 100, 255])
def test_each_channel_has_its_own_mean_and_std(level: int) -> None:
    spec = PhotoPreprocess(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    prepared = prepare_photo(Image.new("RGB", (300, 300), (level, 0, 255)), spec)
    expected = ((level / 255 - 0.1) / 0.4, -0.2 / 0.5, 0.7 / 0.6)
    for plane, value in zip(prepared, expected, strict=True):
        np.testing.assert_allclose(plane, value, atol=1e-6)


def test_layout_follows_the_spec() -> None:
    first = prepare_photo(noise(300, 200), PhotoPreprocess())
    last = prepare_photo(noise(300, 200), PhotoPreprocess(layout="NHWC"))
    assert first.shape == PhotoPreprocess().input_shape == (3, 224, 224)
    assert last.shape == PhotoPreprocess(layout="NHWC").input_shape == (224, 224, 3)
    np.testing.assert_array_equal(first.transpose(1, 2, 0), last)


def test_gray_model_gets_one_channel() -> None:
    spec = PhotoPreprocess(channels=1, mean=(0.5,), std=(0.5,), crop=(32, 32), resize=32)
    assert prepare_photo(noise(50, 60), spec).shape == (1, 32, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (3, 2)])
def test_extreme_sizes_are_supported(size: tuple[int, int]) -> None:
    prepared = prepare_photo(Image.new("RGB", size, "red"), PhotoPreprocess())
    assert prepared.shape == (3, 224, 224)
    assert np.isfinite(prepared).all()


@pytest.mark.parametrize(
    "fields",
    [{"std": (0.0, 1.0, 1.0)}, {"mean": (0.5,)}, {"crop": (0, 10)}, {"interpolation": "magic"}],
)
def test_invalid_spec_raises_validation_error(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PhotoPreprocess.model_validate(fields)


RAW = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}


def test_bgr_and_flat_inputs_hold_the_same_pixels() -> None:
    image = random_pixels(30, 20)
    pixels = np.asarray(image, dtype=np.float32)
    for color, expected in (("RGB", pixels), ("BGR", pixels[..., ::-1])):
        for layout in ("NCHW", "NHWC", "flat"):
            described = {"channels": color, "layout": layout, "resize": None, "crop": (20, 30)}
            spec = PhotoPreprocess.model_validate(described | RAW)
            row = prepare_photo(image, spec)
            assert row.shape == spec.input_shape
            values = expected.transpose(2, 0, 1) if layout == "NCHW" else expected
            np.testing.assert_array_equal(row, values.reshape(spec.input_shape))


def test_mean_and_std_of_bgr_are_in_its_order() -> None:
    image = Image.new("RGB", (8, 8), (10, 20, 30))
    mean = (30 / 255, 20 / 255, 10 / 255)
    spec = PhotoPreprocess(resize=None, crop=(8, 8), color="BGR", mean=mean, std=(1 / 255,) * 3)
    np.testing.assert_allclose(prepare_photo(image, spec), 0, atol=1e-5)


def test_bgr_requires_three_channels() -> None:
    with pytest.raises(ValidationError, match="BGR requires three channels"):
        PhotoPreprocess(channels=1, color="BGR", mean=(0.5,), std=(0.5,))


def test_crop_is_rounded_to_the_nearest_even_pixel_or_down() -> None:
    columns = np.broadcast_to(np.arange(7, dtype=np.uint8)[:, np.newaxis], (4, 7, 3))
    image = Image.fromarray(np.ascontiguousarray(columns))
    spec = PhotoPreprocess.model_validate({"resize": None, "crop": (4, 4)} | NO_NORMALIZATION)
    # A margin of 3 columns: 1.5 is rounded to 2, or down to 1.
    first = [
        prepare_photo(image, spec.model_copy(update={"crop_rounding": rounding}))[0, 0, 0] * 255
        for rounding in ("nearest", "down")
    ]
    np.testing.assert_allclose(first, [2, 1])
