"""Conversion of decoded images to sRGB, with LittleCMS and cached transforms.

The color space comes from the cICP chunk of a PNG or the nclx box of an AVIF or HEIC file, else an
embedded ICC profile, else the gAMA and cHRM chunks of a PNG, else the EXIF block (Adobe RGB).
Profiles that are damaged, too large or absurd are ignored, as browsers do.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from backend.inference.images import icc

MAX_PROFILE_BYTES: Final = 4_000_000
_CACHED_TRANSFORMS: Final = 16  # of at most 2 MB
_SAME: Final = 3  # levels of 255; smaller differences need no conversion
_MIN_CONTRAST: Final = 60  # levels of 255 between black and white after a sensible conversion

_HEADER_BYTES: Final = 128
_CLASSES: Final = (b"scnr", b"mntr", b"prtr", b"spac")
_SPACES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_UNSPECIFIED: Final = 2  # ITU-T H.273

_EXIF_IFD, _INTEROPERABILITY_IFD = 0x8769, 0xA005
_COLOR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 1
_SRGB, _ADOBE_RGB = 1, "R03"  # values of these tags

_ERRORS: Final = (
    *(ImageCms.PyCMSError, OSError, ValueError, TypeError, LookupError, SyntaxError),
    *(ArithmeticError, AttributeError),
)


@dataclass(frozen=True, slots=True)
class Transform:
    """A conversion to sRGB. `changes_grays` says whether gray pixels change."""

    cms: ImageCms.ImageCmsTransform
    changes_grays: bool


_transforms: Final[OrderedDict[tuple[bytes, str], Transform | None]] = OrderedDict()
_lock: Final = threading.Lock()


def to_srgb(
    image: Image.Image,
    profile: bytes,
    *,
    min_side: int | None = None,
    brightness_only: bool = False,
) -> Image.Image:
    """Convert an RGB or CMYK image from the color space of `profile` to sRGB, in place if it can.

    With `min_side`, an image that has to be converted is reduced before, with no side shorter than
    `min_side`: the conversion of a pixel costs as much as its decoding. With `brightness_only`,
    images whose gray levels would not change are not converted. Without a usable transform, the
    image is returned unchanged.
    """
    transform = _transform(profile, image.mode)
    if transform is None or (brightness_only and not transform.changes_grays):
        return image
    try:
        if min_side is not None and (factor := min(image.size) // min_side) >= 2:
            image = image.reduce(factor)
        if image.mode == "RGB":
            ImageCms.applyTransform(image, transform.cms, inPlace=True)
            return image
        return ImageCms.applyTransform(image, transform.cms) or image
    except _ERRORS:
        return image


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert a LAB image to sRGB."""
    converted = ImageCms.applyTransform(image, _lab_transform())
    assert converted is not None  # noqa: S101
    return converted


def find_profile(image: Image.Image) -> bytes | None:
    """Return the ICC profile that describes an opened image, or None for sRGB."""
    info = image.info
    if codes := info.get("cicp"):
        profile = icc.coded_profile(*codes)
        if profile is not None or _UNSPECIFIED not in codes:
            return profile
    if embedded := info.get("icc_profile"):
        return embedded if isinstance(embedded, bytes) and _fits(embedded, image) else None
    if image.format == "PNG" and ("gamma" in info or "chromaticity" in info):
        return _png_profile(image)
    exif = info.get("exif")
    if isinstance(exif, bytes) and _ADOBE_RGB.encode() in exif and _is_adobe_rgb(image):
        return icc.adobe_rgb_profile()
    return None


def _png_profile(image: Image.Image) -> bytes | None:
    if "srgb" in image.info:
        return None
    gamma = image.info.get("gamma")
    chromaticities = tuple(image.info.get("chromaticity", icc.SRGB))
    if gamma is not None and abs(gamma * 2.2 - 1) > 0.05:
        return icc.gamma_profile(gamma, chromaticities)
    # sRGB's own curve is close to a gamma of 1 / 2.2, which most files mean by it.
    if np.allclose(chromaticities, icc.SRGB, atol=0.002):
        return None
    return icc.chromaticities_profile(chromaticities)


def _is_adobe_rgb(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        color_space = exif.get_ifd(_EXIF_IFD).get(_COLOR_SPACE)
        index = exif.get_ifd(_INTEROPERABILITY_IFD).get(_INTEROPERABILITY_INDEX)
    except _ERRORS:
        return False
    return color_space != _SRGB and isinstance(index, str) and index.startswith(_ADOBE_RGB)


def _fits(profile: bytes, image: Image.Image) -> bool:
    """Whether a profile is to be used: of a display, scanner or printer, and of the image's mode.

    Pipelines of unlimited length (`mpet`) are excluded: they can take minutes to sample.
    """
    if not _HEADER_BYTES < len(profile) <= MAX_PROFILE_BYTES or profile[12:16] not in _CLASSES:
        return False
    if b"mpet" in profile:
        return False
    space = profile[16:20]
    if image.mode == "CMYK":
        return space == b"CMYK"
    is_gray = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
    return space == b"RGB " or (is_gray and space == b"GRAY")


def _transform(profile: bytes, mode: str) -> Transform | None:
    """Return the transform of images of `mode`, built once; see `_build_transform`.

    The cache holds no profiles, which may be large.
    """
    key = hashlib.sha256(profile).digest(), mode
    with _lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    transform = _build_transform(profile, mode)
    with _lock:
        _transforms[key] = transform
        while len(_transforms) > _CACHED_TRANSFORMS:
            _transforms.popitem(last=False)
    return transform


def _build_transform(profile: bytes, mode: str) -> Transform | None:
    """Return the transform of images of `mode`; None if the profile is sRGB, or makes no sense."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if profile[16:20] == b"GRAY":
            source = _as_rgb_profile(source)
        cms = ImageCms.buildTransform(
            *(source, _srgb(), mode, "RGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        if mode == "CMYK":
            white, black = _apply(cms, "CMYK", np.array([[0, 0, 0, 0], [0, 0, 0, 255]]))
            return Transform(cms, True) if (white - black).mean() > _MIN_CONTRAST else None
        steps = np.arange(0, 256, 51)
        colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
        color_change = np.abs(_apply(cms, "RGB", colors) - colors).max()
        grays = _apply(cms, "RGB", np.repeat(np.arange(256), 3).reshape(-1, 3)).mean(axis=1)
    except _ERRORS:
        return None
    if grays[-1] - grays[0] < _MIN_CONTRAST or np.diff(grays).min() < -_SAME:
        return None
    gray_change = np.abs(grays - np.arange(256)).max()
    if max(color_change, gray_change) <= _SAME:
        return None
    return Transform(cms, bool(gray_change > _SAME))


def _as_rgb_profile(gray: ImageCms.ImageCmsProfile) -> ImageCms.ImageCmsProfile:
    """Return an RGB profile with the curve of a gray one."""
    cms = ImageCms.buildTransform(
        gray, _srgb(), "L", "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    levels = _apply(cms, "L", np.arange(256)[:, np.newaxis]).mean(axis=1) / 255
    profile = icc.build_profile(
        icc.SRGB, lambda x: icc.decode_srgb(np.interp(x, np.linspace(0, 1, 256), levels))
    )
    return ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))


def _apply(
    cms: ImageCms.ImageCmsTransform, mode: str, colors: NDArray[np.int_]
) -> NDArray[np.int_]:
    """Return the converted `colors`, shape (n, channels of the mode), as RGB of shape (n, 3)."""
    image = Image.frombytes(mode, (len(colors), 1), colors.astype(np.uint8).tobytes())
    converted = ImageCms.applyTransform(image, cms)
    rgb: NDArray[np.int_] = np.asarray(converted, dtype=int)[0]
    return rgb


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB")
