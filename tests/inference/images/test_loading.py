"""Decoding of images in all formats to upright RGB, and errors for all others."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.inference.errors import (
    BrokenImageError,
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnsupportedImageError,
)
from backend.inference.images.completeness import count_jpeg_scans
from backend.inference.images.image_reader import ImageReader
from backend.inference.images.loading import decode, load_rgb
from backend.inference.images.opening import BoundedFile, open_image
from tests.conftest import FUZZ_FACTOR, ROOT
from tests.fuzz.samples import image_samples
from tests.images import encoded, noise, seven
from tests.inference.images.bombs import exif, jpeg_segments


def difference(first: Image.Image, second: Image.Image) -> int:
    """Return the largest difference of any channel of any pixel, in levels of 255."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


DATA = Path(__file__).parent / "data"
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "MPO": {"quality": 95, "save_all": True, "append_images": [noise()]},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}
FORMATS = ("PNG", "BMP", "GIF", "WEBP", "JPEG", "MPO", "AVIF", "TIFF", "JPEG2000", "ICO", "PPM")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_decoded_to_rgb(form: str) -> None:
    image = decode(encoded(seven(), form, **OPTIONS.get(form, {})))
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert difference(image, seven()) <= (40 if form in ("JPEG", "MPO", "AVIF") else 2)


def test_heic_is_decoded_upright() -> None:
    image = decode((DATA / "noise_turned.heic").read_bytes())
    assert image.size == (96, 64)
    assert np.abs(np.asarray(image, int) - np.asarray(noise(96, 64), int)).mean() < 2


def test_transparent_heic_is_composited() -> None:
    image = decode((DATA / "seven_transparent.heic").read_bytes())
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert np.ptp(np.asarray(image)) > 200


@pytest.mark.parametrize("name", [b"\xbd", b"\xff"])
def test_heic_with_an_item_type_that_is_no_text_is_rejected(name: bytes) -> None:
    data = (DATA / "noise_turned.heic").read_bytes()
    place = data.index(b"Exif")
    with pytest.raises(BrokenImageError):  # the decoder's process would crash
        decode(data[: place + 1] + name + data[place + 2 :])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_every_compression_of_tiff_gives_the_same_image(compression: str) -> None:
    assert difference(decode(encoded(noise(), "TIFF", compression=compression)), noise()) == 0


def test_first_page_of_a_tiff_is_decoded() -> None:
    data = encoded(seven(), "TIFF", save_all=True, append_images=[noise()])
    assert difference(decode(data), seven()) == 0


def test_big_endian_tiff_of_16_bits_becomes_8_bit() -> None:
    gray = noise().convert("L")
    wide = Image.fromarray((np.asarray(gray).astype(np.uint16) * 257).astype(">u2"))
    assert difference(decode(encoded(wide, "TIFF")), gray.convert("RGB")) <= 1


@pytest.mark.parametrize("peak", [1, 255, 65535])
def test_float_tiff_becomes_8_bit(peak: int) -> None:
    gray = np.asarray(noise().convert("L"))
    values = (gray / 255 * peak).astype(np.float32)
    values[0, 0], expected = np.nan, gray.copy()
    expected[0, 0] = 0
    decoded = decode(encoded(Image.fromarray(values), "TIFF"))
    assert difference(decoded, Image.fromarray(expected).convert("RGB")) <= 1


def test_lab_tiff_is_converted_to_srgb() -> None:
    lab = Image.frombytes("LAB", (2, 1), bytes((255, 0, 0, 137, 0, 0)))
    white, gray = np.asarray(decode(encoded(lab, "TIFF")), dtype=int)[0]
    assert white.min() >= 254
    assert np.abs(gray - 128).max() <= 3


def test_largest_image_of_an_icon_is_decoded() -> None:
    data = encoded(noise(128, 128), "ICO", sizes=[(16, 16), (128, 128)])
    assert difference(decode(data), noise(128, 128)) == 0
    data = encoded(noise(64, 64), "ICO", sizes=[(64, 64)], bitmap_format="bmp")
    assert difference(decode(data), noise(64, 64)) == 0


def test_icon_with_a_large_png_is_subject_to_the_pixel_limit() -> None:
    png = encoded(Image.new("L", (400, 400)))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    with pytest.raises(ImageTooLargeError, match="400 x 400"):
        decode(struct.pack("<HHH", 0, 1, 1) + entry + png, max_pixels=400 * 400 - 1)


def test_icon_with_a_large_bitmap_is_rejected_before_it_is_decoded() -> None:
    data = bytearray(encoded(noise(16, 16), "ICO", sizes=[(16, 16)], bitmap_format="bmp"))
    data[26:34] = struct.pack("<ii", 257, 32)
    with pytest.raises(ImageTooLargeError, match="bitmap"):
        decode(bytes(data))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_every_png_mode_gives_the_same_image(mode: str) -> None:
    assert (
        difference(decode(encoded(seven().convert(mode))), seven().convert("L").convert("RGB")) <= 2
    )


def test_cmyk_jpeg_gives_the_same_image_as_rgb() -> None:
    cmyk = noise().convert("CMYK")
    image = decode(encoded(cmyk, "JPEG", quality=100, subsampling=0))
    assert difference(image, cmyk.convert("RGB")) <= 8  # the loss of JPEG


def test_16_bit_image_becomes_8_bit() -> None:
    gray = noise().convert("L")
    wide = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    assert difference(decode(encoded(wide)), gray.convert("RGB")) <= 1


def test_transparent_image_is_composited_on_white() -> None:
    drawn = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawn.paste((0, 0, 0, 255), (2, 2, 6, 6))
    image = decode(encoded(drawn))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((3, 3)) == (0, 0, 0)


def test_white_ink_on_transparency_is_composited_on_black() -> None:
    drawn = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawn.paste((255, 255, 255, 255), (2, 2, 6, 6))
    image = decode(encoded(drawn))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((3, 3)) == (255, 255, 255)


def test_transparent_palette_entry_is_composited() -> None:
    drawn = Image.new("P", (4, 4), 0)
    drawn.putpalette([255, 0, 0, 0, 0, 255])
    drawn.putpixel((1, 1), 1)
    image = decode(encoded(drawn, "GIF", transparency=0))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 1)) == (0, 0, 255)


def test_first_frame_of_a_gif_is_decoded() -> None:
    frames = [seven(), seven(ink="white", paper="black")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert difference(decode(data), seven()) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = noise(48, 32)
    for method in turned[orientation]:
        stored = stored.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(stored, "PNG", exif=exif))
    assert image.size == (48, 32)
    assert difference(image, noise(48, 32)) == 0


def test_real_photos_of_every_orientation_are_alike(test_data: Path) -> None:
    for shape in ("Landscape", "Portrait"):
        paths = sorted((test_data / "exif").glob(f"{shape}_*.jpg"))
        small = [decode(path.read_bytes()).resize((24, 24)) for path in paths]
        assert len(small) == 9
        for other in small[1:]:
            gap = np.abs(np.asarray(other, dtype=int) - np.asarray(small[0], dtype=int))
            assert gap.mean() < 8


def test_damaged_exif_is_ignored() -> None:
    data = encoded(seven(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff broken")
    assert decode(data).size == (64, 64)


def test_empty_file_raises_empty_image_error() -> None:
    with pytest.raises(EmptyImageError):
        decode(b"")


@pytest.mark.parametrize("data", [b"hello", b"<svg/>", b"%PDF-1.7", bytes(1000)])
def test_other_files_raise_unsupported_image_error(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError):
        decode(data)


def test_bmp_of_an_unusual_kind_raises_unsupported_image_error() -> None:
    masks = struct.pack("<4I", 0xF00, 0xF0, 0xF, 0xF000)
    header = struct.pack("<IiiHHIIiiII", 108, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0) + masks + bytes(52)
    data = b"BM" + struct.pack("<IHHI", 14 + 108 + 4, 0, 0, 14 + 108) + header + bytes(4)
    with pytest.raises(UnsupportedImageError, match=r"BMP file \(16 bits per pixel, an unusual"):
        decode(data)


@pytest.mark.parametrize("form", FORMATS)
def test_truncated_file_is_said_to_end_early(form: str) -> None:
    data = encoded(noise(200, 200), form, **OPTIONS.get(form, {}))
    half = len(encoded(noise(200, 200), "JPEG", quality=95)) if form == "MPO" else len(data)
    with pytest.raises(TruncatedImageError, match="ends early"):
        decode(data[: half // 2])


def test_tiff_without_the_end_of_its_directory_is_said_to_end_early() -> None:
    data = encoded(noise(), "TIFF", compression="tiff_lzw")  # its directory is at the end
    for length in (12, len(data) - 1, len(data) - 40):
        with pytest.raises(TruncatedImageError):
            decode(data[:length])


def test_png_without_pixels_is_said_to_end_early() -> None:
    with pytest.raises(TruncatedImageError):
        decode(PNG[: PNG.index(b"IDAT") - 1])
    animated = encoded(seven(), save_all=True, append_images=[noise(28, 28)])
    with pytest.raises(TruncatedImageError):
        decode(animated[: animated.index(b"IDAT") - 1])


def test_truncated_heic_is_said_to_end_early() -> None:
    data = (DATA / "noise_turned.heic").read_bytes()
    with pytest.raises(TruncatedImageError, match="ends early"):
        decode(data[: len(data) - 200])


@pytest.mark.parametrize("min_side", [None, 100])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_without_end_marker_is_decoded(options: dict[str, bool], min_side: int | None) -> None:
    data = encoded(noise(400, 300), "JPEG", **options)
    image, complete = (
        load_rgb(open_image(content, max_pixels=10**6, min_side=min_side))
        for content in (data[:-2], data)
    )
    assert difference(image, complete) == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_with_most_of_its_rows_is_decoded(mode: str) -> None:
    texture = Image.effect_noise((320, 320), 60).convert(mode)
    data = encoded(texture, "JPEG", quality=80)
    assert decode(data[: int(0.95 * len(data))]).size == (320, 320)
    with pytest.raises(TruncatedImageError):
        decode(data[: int(0.8 * len(data))])


def test_jpeg_with_damaged_pixels_and_an_end_marker_is_no_truncated_file() -> None:
    data = encoded(noise(200, 200), "JPEG")
    start = data.index(b"\xff\xda")
    damaged = data[:start] + b"\xff\xda\x00\x02" + data[-2:]
    with pytest.raises(BrokenImageError, match="damaged"):
        decode(damaged)


DAMAGED_CHUNKS = {
    "large text": lambda: chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2_000_000))),
    "damaged text": lambda: chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "text without end": lambda: chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000))[:20]),
    "large profile": lambda: chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000))),
    "damaged profile": lambda: chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(5000))[:20]),
    "unknown compression": lambda: chunk(b"iCCP", b"a\0\7" + zlib.compress(bytes(5000))),
    "short gamma": lambda: chunk(b"gAMA", b"\0"),
    "short transparency": lambda: chunk(b"tRNS", b"\0"),
    "unknown": lambda: chunk(b"prVt", bytes(9))[:-1] + b"?",
}


@pytest.mark.parametrize("place", ["before the pixels", "after the pixels"])
@pytest.mark.parametrize("name", DAMAGED_CHUNKS)
def test_damaged_metadata_of_a_png_is_ignored(name: str, place: str) -> None:
    start = 33 if place == "before the pixels" else len(PNG) - 12
    damaged = PNG[:start] + DAMAGED_CHUNKS[name]() + PNG[start:]
    assert difference(decode(damaged), seven()) == 0


def test_color_space_of_a_png_survives_the_removal_of_damaged_metadata() -> None:
    damage = DAMAGED_CHUNKS["damaged text"]()
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    plain = encoded(noise())
    with_gamma = plain[:33] + gamma + plain[33:]
    assert difference(decode(with_gamma), noise()) > 20
    damaged = plain[:33] + gamma + damage + plain[33:]
    assert difference(decode(damaged), decode(with_gamma)) == 0


def test_pixel_limit_applies_before_decoding() -> None:
    width, height = 100_000, 100_000
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    with pytest.raises(ImageTooLargeError, match="100000 x 100000"):
        decode(bomb)
    with pytest.raises(ImageTooLargeError):
        decode(encoded(seven(64)), max_pixels=64 * 64 - 1)
    assert decode(encoded(seven(64)), max_pixels=64 * 64).size == (64, 64)


def test_jpeg_is_decoded_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), "JPEG", quality=100)
    assert len(data) > 200_000
    image = open_image(data, max_pixels=1_000_000)
    reads: list[int] = []
    read = BoundedFile.read

    def record(file: BoundedFile, size: int) -> bytes:
        reads.append(size)
        return read(file, size)

    monkeypatch.setattr(BoundedFile, "read", record)
    assert load_rgb(image).size == (400, 400)
    assert len(reads) == 1


def test_jpeg_with_a_thousand_scans_is_rejected() -> None:
    data = encoded(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 1000 + data[-2:]
    assert decode(data).size == (2000, 2000)
    with pytest.raises(ImageTooLargeError, match="scans"):
        decode(bomb)


def test_bytes_after_a_jpeg_or_in_its_segments_are_not_scans() -> None:
    data = encoded(noise(2000, 1500), "JPEG", progressive=True)
    trailer = b"\xff\xda random bytes of a motion photo " * 10_000
    assert count_jpeg_scans(data + trailer) == count_jpeg_scans(data) == data.count(b"\xff\xda")
    comment = b"\xff\xfe" + (2 + len(trailer[:60_000])).to_bytes(2, "big") + trailer[:60_000]
    assert count_jpeg_scans(data[:2] + comment + data[2:]) == count_jpeg_scans(data)
    assert decode(data + trailer).size == (2000, 1500)


def chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


PNG = encoded(seven())
GIF = encoded(seven(), "GIF")
JPEG = encoded(seven(), "JPEG")
SEGMENTED_FILES = {
    "JPEG of comments": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1_000_000,
    "JPEG of fill bytes": b"\xff\xd8" + b"\xff" * 5_000_000,
    "JPEG of profiles": b"\xff\xd8" + b"\xff\xe2\x00\x10ICC_PROFILE\x00\x01\x01" * 300_000,
    "JPEG of scans": JPEG[:-2] + b"\xff\xda\x00\x02" * 1_000_000 + b"\xff\xd9",
    "PNG of texts": PNG[:33] + chunk(b"tEXt", b"a\x00b") * 300_000 + PNG[33:],
    "PNG of empty data": PNG[:-12] + chunk(b"IDAT", b"") * 300_000 + PNG[-12:],
    "GIF of comments": GIF[:13] + b"\x21\xfe\x00" * 1_000_000 + GIF[13:],
}


@pytest.mark.parametrize("name", SEGMENTED_FILES)
def test_file_with_a_million_segments_is_rejected(name: str) -> None:
    with pytest.raises(BrokenImageError, match="too many segments"):
        decode(SEGMENTED_FILES[name])


@pytest.mark.parametrize(
    ("image", "options", "factor"),
    [
        (Image.new("RGB", (100, 100)), {}, 1),
        (Image.new("L", (1, 10_000)), {}, 64),
    ],
)
def test_short_rows_count_as_more_pixels(
    image: Image.Image, options: dict[str, Any], factor: int
) -> None:
    data = encoded(image, **options)
    assert decode(data, max_pixels=10_000 * factor).size == image.size
    with pytest.raises(ImageTooLargeError):
        decode(data, max_pixels=10_000 * factor - 1)


def test_tile_of_a_tiff_that_exceeds_the_limit_is_rejected() -> None:
    tags = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32_000, 323: 32_000}
    tags |= {324: 8, 325: 1}  # offset and size of the only tile
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(ImageTooLargeError, match="costs as much as 1,024,000,000"):
        decode(data)


def test_png_without_its_palette_is_broken() -> None:
    data = encoded(seven().convert("P"))
    start = data.index(b"PLTE") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    with pytest.raises(BrokenImageError), ImageReader().read(data[:start] + data[end:]):
        pass


def test_real_corrupt_pngs_raise_image_error(test_data: Path) -> None:
    paths = sorted((test_data / "bad" / "pngsuite").glob("*.png"))
    assert len(paths) == 14
    for path in paths:
        if path.name == "xcsn0g01.png":  # a wrong checksum: both outcomes are valid
            continue
        with pytest.raises(ImageError):
            decode(path.read_bytes())


SAMPLE_FILES = list(image_samples().values())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@settings(max_examples=300 * FUZZ_FACTOR, deadline=None)
@given(
    data=st.sampled_from(SAMPLE_FILES),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
    length=st.floats(0.1, 1),
)
def test_damaged_file_is_decoded_or_raises_image_error(
    data: bytes, edits: list[tuple[float, int]], length: float
) -> None:
    damaged = bytearray(data[: max(1, int(len(data) * length))])
    for place, value in edits:
        damaged[int(place * len(damaged))] = value
    try:
        image = decode(bytes(damaged), max_pixels=1_000_000)
    except ImageError:
        return
    assert image.mode == "RGB"


def test_warnings_about_damaged_files_are_neither_shown_nor_remembered() -> None:
    program = (
        "from backend.inference.images.loading import decode; import sys, PIL.TiffImagePlugin;"
        "decode(sys.stdin.buffer.read()); print(len(vars(PIL.TiffImagePlugin).get("
        "'__warningregistry__', ())))"
    )
    data = jpeg_segments(0xE1, [b"Exif\0\0" + exif(50, 50)[:-40]])
    done = subprocess.run(
        [sys.executable, "-c", program], input=data, capture_output=True, cwd=ROOT
    )
    assert (done.stdout.strip(), done.stderr) == (b"1", b"")  # its version
