"""ICC profiles of RGB color spaces that a file names by numbers instead of embedding a profile.

Sources: ITU-T H.273 (codes of color primaries and transfer functions), ITU-R BT.2100 (PQ, HLG),
ITU-R BT.2408 (203 cd/m2 as the white of ordinary content in HDR), ICC.1:2001-04 (profiles).
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Chromaticities = tuple[float, ...]  # x and y of white, red, green and blue

_D65: Final = (0.3127, 0.3290)
SRGB: Final[Chromaticities] = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB: Final[Chromaticities] = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_PRIMARIES: Final[dict[int, Chromaticities]] = {
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}  # all others differ little from sRGB, or are reserved
_PQ, _HLG = 16, 18

_D50: Final = np.array([0.96422, 1.0, 0.82521])  # white of the profile connection space
_BRADFORD: Final = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_CURVE_SAMPLES: Final = 4096
_SDR_WHITE: Final = 203.0  # cd/m2
_HDR_PEAK: Final = 1000.0  # cd/m2
_SHOULDER: Final = 0.5  # share of the white from which highlights are compressed


@lru_cache(maxsize=64)
def coded_profile(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of H.273's codes, or None for sRGB and spaces that are close to it.

    PQ and HLG are tone-mapped: highlights above the white of ordinary content are compressed.
    """
    curve = _CURVES.get(transfer)
    if curve is None and primaries not in _PRIMARIES:
        return None
    return build_profile(_PRIMARIES.get(primaries, SRGB), curve or decode_srgb)


@lru_cache(maxsize=64)
def gamma_profile(gamma: float, chromaticities: Chromaticities) -> bytes | None:
    """Return the profile of a file's `gamma` (1 / 2.2 is ordinary); None if it is absurd."""
    if not 0.15 <= gamma <= 5:
        return None
    return build_profile(chromaticities, lambda x: x ** (1 / gamma))


@lru_cache(maxsize=64)
def chromaticities_profile(chromaticities: Chromaticities) -> bytes | None:
    """Return the profile of `chromaticities` with sRGB's curve; None if they are absurd."""
    return build_profile(chromaticities, decode_srgb)


@lru_cache(maxsize=1)
def adobe_rgb_profile() -> bytes:
    """Return a profile of Adobe RGB (1998)."""
    profile = build_profile(_ADOBE_RGB, lambda x: x ** (563 / 256))
    assert profile is not None  # noqa: S101
    return profile


def build_profile(
    chromaticities: Chromaticities, decode: Callable[[Floats], Floats]
) -> bytes | None:
    """Return the profile of a color space whose curve `decode` maps [0, 1] to linear light.

    Return None if the chromaticities describe no color space.
    """
    matrix = _to_connection_space(chromaticities)
    if matrix is None:
        return None
    levels = np.clip(decode(np.linspace(0, 1, _CURVE_SAMPLES)), 0, 1)
    curve = b"curv\0\0\0\0" + struct.pack(">I", _CURVE_SAMPLES)
    curve += np.rint(levels * 65535).astype(">u2").tobytes()
    contents = {b"wtpt": _xyz(_D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    contents |= {
        name: _xyz(column)
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)
    }
    table, body = b"", b""
    start = 128 + 4 + 12 * len(contents)
    for name, content in contents.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x",
        start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp", _xyz(_D50)[8:],
    )  # fmt: skip
    return header + struct.pack(">I", len(contents)) + table + body


def _to_connection_space(chromaticities: Chromaticities) -> Floats | None:
    """Return the matrix from linear RGB to XYZ, adapted to D50."""
    points = np.array(chromaticities, dtype=np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] < 0.001).any() or (np.abs(points) > 2).any():
        return None
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    white, primaries = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(primaries)) < 1e-3:
        return None
    matrix = primaries * np.linalg.solve(primaries, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: Floats = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    return adapted if np.isfinite(adapted).all() and np.abs(adapted).max() < 4 else None


def _xyz(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + np.rint(values * 65536).astype(">i4").tobytes()


def decode_srgb(x: Floats) -> Floats:
    """Return the linear light of values of sRGB, all in [0, 1]."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _decode_pq(x: Floats) -> Floats:
    power = x ** (32 / 2523)
    ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return _tone_map(10_000 * ratio ** (16384 / 2610) / _SDR_WHITE)


def _decode_hlg(x: Floats) -> Floats:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(x <= 0.5, x**2 / 3, (np.exp((x - c) / a) + b) / 12)
    return _tone_map(_HDR_PEAK * scene**1.2 / _SDR_WHITE)


def _tone_map(light: Floats) -> Floats:
    """Compress light, relative to the white of ordinary content, to [0, 1].

    Dark and middle tones do not change. The shoulder is Reinhard's extended curve.
    """
    excess = np.maximum(light - _SHOULDER, 0) / (1 - _SHOULDER)
    peak = (_HDR_PEAK / _SDR_WHITE - _SHOULDER) / (1 - _SHOULDER)
    compressed = excess * (1 + excess / peak**2) / (1 + excess)
    return np.where(light <= _SHOULDER, light, _SHOULDER + (1 - _SHOULDER) * compressed)


_CURVES: Final[dict[int, Callable[[Floats], Floats]]] = {
    4: lambda x: x**2.2,
    5: lambda x: x**2.8,
    8: lambda x: x,
    _PQ: _decode_pq,
    _HLG: _decode_hlg,
}
