"""Conversion to sRGB from profiles and from the color spaces that files name."""

import struct
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from backend.inference.images import color, icc
from backend.inference.images.loading import decode, load_rgb
from backend.inference.images.opening import open_image
from tests.images import encoded, noise

DATA = Path(__file__).parent / "data"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DISPLAY_P3 = icc.coded_profile(12, 13) or b""
ADOBE_RGB = icc.adobe_rgb_profile()
ORANGE = (180, 120, 80)
# Computed with the matrices and curves of the standards, independent of LittleCMS.
ORANGE_OF_P3 = (190, 117, 72)
ORANGE_OF_ADOBE_RGB = (199, 121, 77)
ORANGE_OF_LINEAR = (219, 182, 152)


def flat(color: tuple[int, ...] = ORANGE, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (16, 16), color)


def pixel(data: bytes) -> tuple[int, ...]:
    color = decode(data).getpixel((8, 8))
    assert isinstance(color, tuple)
    return color


def is_close(color: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 2) -> bool:
    return max(abs(a - b) for a, b in zip(color, expected, strict=True)) <= tolerance


def png_with(*chunks: tuple[bytes, bytes], image: Image.Image | None = None) -> bytes:
    data = encoded(image or flat())
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return data[:33] + b"".join(parts) + data[33:]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [(DISPLAY_P3, ORANGE_OF_P3), (ADOBE_RGB, ORANGE_OF_ADOBE_RGB), (SRGB, ORANGE)],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_profile_is_converted_to_srgb(form: str, profile: bytes, expected: tuple[int, ...]) -> None:
    options = {"quality": 100} if form in ("JPEG", "WEBP", "AVIF") else {}
    data = encoded(flat(), form, icc_profile=profile, **options)
    assert is_close(pixel(data), expected, 2 if form in ("PNG", "TIFF") else 5)


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_profile_applies_to_every_mode(mode: str) -> None:
    image = flat().quantize(4) if mode == "P" else flat().convert(mode)
    assert is_close(pixel(encoded(image, icc_profile=DISPLAY_P3)), ORANGE_OF_P3)


def test_gray_image_with_the_profile_of_a_gamma() -> None:
    linear = icc.gamma_profile(1.0, icc.SRGB)
    data = encoded(Image.new("L", (16, 16), 55), icc_profile=linear)
    assert is_close(pixel(data), (128, 128, 128))


def test_cmyk_photo_with_a_profile(test_data: Path) -> None:
    data = (test_data / "formats" / "cmyk_icc_doberman.jpg").read_bytes()
    with Image.open(test_data / "formats" / "cmyk_icc_doberman.jpg") as opened:
        naive = np.asarray(opened.convert("RGB"), dtype=int)
    assert np.abs(np.asarray(decode(data), dtype=int) - naive).mean() > 10


@pytest.mark.parametrize(
    "profile",
    [
        b"profile",
        DISPLAY_P3[:200],
        DISPLAY_P3[:12] + b"link" + DISPLAY_P3[16:],
        DISPLAY_P3[:16] + b"CMYK" + DISPLAY_P3[20:],
        DISPLAY_P3[:400] + bytes(len(DISPLAY_P3) - 400),
        DISPLAY_P3 + bytes(5_000_000),
        DISPLAY_P3 + b"mpet",
    ],
    ids=["text", "cut", "class", "space", "black", "large", "pipeline"],
)
@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_unusable_profile_is_ignored(profile: bytes, form: str) -> None:
    options = {"quality": 100} if form == "JPEG" else {}
    data = encoded(flat(), form, icc_profile=profile, **options)
    assert is_close(pixel(data), ORANGE, 4)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([(b"gAMA", struct.pack(">I", 100_000))], ORANGE_OF_LINEAR),
        ([(b"gAMA", struct.pack(">I", 45_455))], ORANGE),
        ([(b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0")], ORANGE),
        ([(b"gAMA", struct.pack(">I", 0))], ORANGE),
        ([(b"gAMA", struct.pack(">I", 2**31))], ORANGE),
        ([(b"cHRM", bytes(32))], ORANGE),
        ([(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))],
         ORANGE_OF_P3),
        ([(b"cICP", bytes((12, 13, 0, 1)))], ORANGE_OF_P3),
        ([(b"cICP", bytes((1, 13, 0, 1))), (b"gAMA", struct.pack(">I", 100_000))], ORANGE),
    ],
    ids=["linear", "ordinary", "sRGB", "zero", "huge", "no primaries", "P3", "cICP", "cICP first"],
)  # fmt: skip
def test_color_chunks_of_a_png(
    chunks: list[tuple[bytes, bytes]], expected: tuple[int, ...]
) -> None:
    assert is_close(pixel(png_with(*chunks)), expected, 3)


def test_exif_block_can_name_adobe_rgb() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    data = encoded(flat(), "JPEG", quality=100, exif=exif)
    assert is_close(pixel(data), ORANGE_OF_ADOBE_RGB, 5)
    exif.get_ifd(0x8769)[0xA001] = 1
    assert is_close(pixel(encoded(flat(), "JPEG", quality=100, exif=exif)), ORANGE, 4)


def test_hdr_is_tone_mapped() -> None:
    data = (DATA / "grays_pq.heic").read_bytes().replace(b"nclx\0\x09\0\x0d", b"nclx\0\x09\0\x10")
    black, middle, white = np.asarray(decode(data), dtype=int)[16, [16, 48, 80], 1]
    assert black <= 2
    assert abs(middle - 186) <= 4  # 100 cd/m2, unchanged relative to a white of 203 cd/m2
    assert 215 <= white <= 235  # 203 cd/m2, compressed to leave room for highlights


def test_hlg_avif_is_tone_mapped() -> None:
    gray = Image.new("RGB", (32, 32), (191, 191, 191))  # the white of ordinary content in HLG
    data = encoded(gray, "AVIF", quality=100, subsampling="4:4:4")
    hlg = data.replace(b"nclx\0\x01\0\x0d", b"nclx\0\x09\0\x12")
    assert hlg != data
    assert 215 <= pixel(hlg)[1] <= 235


def test_brightness_only_omits_conversions_that_keep_gray_levels() -> None:
    def load(profile: bytes, *, brightness_only: bool) -> tuple[int, ...]:
        image = open_image(encoded(flat(), icc_profile=profile), max_pixels=10_000)
        color = load_rgb(image, brightness_only=brightness_only).getpixel((8, 8))
        assert isinstance(color, tuple)
        return color

    assert load(DISPLAY_P3, brightness_only=True) == ORANGE
    assert is_close(load(ADOBE_RGB, brightness_only=True), ORANGE_OF_ADOBE_RGB)


def test_scaled_jpeg_is_converted() -> None:
    data = encoded(flat().resize((400, 400)), "JPEG", quality=100, icc_profile=DISPLAY_P3)
    image = load_rgb(open_image(data, max_pixels=10**6, min_side=50))
    assert image.size == (50, 50)
    assert is_close(image.getpixel((20, 20)), ORANGE_OF_P3, 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(("profile", "size"), [(DISPLAY_P3, (60, 50)), (SRGB, (300, 250))])
def test_large_image_is_reduced_before_its_conversion(
    profile: bytes, size: tuple[int, int]
) -> None:
    data = encoded(flat().resize((300, 250)), icc_profile=profile)
    opened = open_image(data, max_pixels=100_000, min_side=50)
    image = load_rgb(opened, min_side=50)
    assert image.size == size
    assert is_close(image.getpixel((20, 20)), ORANGE_OF_P3 if profile == DISPLAY_P3 else ORANGE)  # type: ignore[arg-type]


def test_transparent_image_keeps_its_alpha() -> None:
    image = Image.new("RGBA", (16, 16), (*ORANGE, 0))
    image.paste((*ORANGE, 255), (4, 4, 12, 12))
    decoded = decode(encoded(image, icc_profile=DISPLAY_P3))
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert is_close(decoded.getpixel((8, 8)), ORANGE_OF_P3)  # type: ignore[arg-type]


def test_cache_of_transforms_is_limited_and_holds_no_profiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[bytes] = []
    build = color._build_transform

    def record(profile: bytes, mode: str) -> color.Transform | None:
        built.append(profile)
        return build(profile, mode)

    monkeypatch.setattr(color, "_build_transform", record)
    monkeypatch.setattr(color, "_transforms", OrderedDict())
    monkeypatch.setattr(color, "_CACHED_TRANSFORMS", 2)
    profiles = [icc.gamma_profile(gamma, icc.SRGB) or b"" for gamma in (0.5, 0.6, 0.7)]
    for index in (0, 1, 0, 2, 0, 1):
        color.to_srgb(noise(), profiles[index])
    assert [profiles.index(profile) for profile in built] == [0, 1, 2, 1]
    assert len(color._transforms) == 2
    assert max(len(digest) for digest, _ in color._transforms) == 32
