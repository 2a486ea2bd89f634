"""Decoders of compressed BMP and unusual PPM files, in place of Pillow's.

Pillow's loop over pixels in Python: a few bytes of a BMP file can occupy them for seconds, and
files with many comments for minutes.
"""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, PpmImagePlugin  # noqa: F401 (registers)

MAX_RUNS: Final = 1_000_000  # runs, line ends and jumps of a compressed BMP
MAX_COMMENTS: Final = 10_000  # of a PPM file that is written as text
_BLOCK: Final = 1_000_000  # bytes of text that are parsed together
_COMMENT: Final = re.compile(rb"#[^\r\n]*")
_NUMBERS: Final = re.compile(rb"[0-9\s]*")


def register() -> None:
    """Let Pillow use these decoders; its plugins register their own when they are imported."""
    Image.register_decoder("bmp_rle", BmpRunLengthDecoder)
    Image.register_decoder("ppm", PpmDecoder)
    Image.register_decoder("ppm_plain", PlainPpmDecoder)


class BmpRunLengthDecoder(ImageFile.PyDecoder):
    """Decodes BMP files that are compressed with RLE4 or RLE8."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        """Decode the whole file; raise ValueError if it has too many runs or too few pixels."""
        assert self.fd is not None  # noqa: S101
        is_odd = self.fd.tell() % 2
        data = self.fd.read()
        raw_mode = "P" if self.mode == "P" else "L"
        self.set_as_raw(self._expand(data, is_odd), raw_mode, (0, self.args[-1]))
        return -1, 0

    def _expand(self, data: bytes, is_odd: int) -> bytes:
        width, total = self.state.xsize, self.state.xsize * self.state.ysize
        is_rle4 = self.args[1]
        pixels = bytearray(total)
        place = filled = x = 0
        for _ in range(MAX_RUNS):
            if filled >= total or place + 2 > len(data):
                return bytes(pixels[:filled])
            count, value = data[place], data[place + 1]
            place += 2
            run = b""
            if count:
                pair = bytes((value >> 4, value & 15)) if is_rle4 else bytes((value, value))
                run = (pair * 128)[: max(0, min(count, width - x, total - filled))]
                x += len(run)
            elif value == 0:  # end of line
                filled = -(-filled // width) * width
                x = 0
            elif value == 1:  # end of image
                return bytes(pixels[:filled])
            elif value == 2:  # jump
                if place + 2 > len(data):
                    return bytes(pixels[:filled])
                filled = min(total, filled + data[place] + data[place + 1] * width)
                place += 2
                x = filled % width
            else:
                size = (value + 1) // 2 if is_rle4 else value
                packed = data[place : place + size]
                run = _unpack(packed)[:value] if is_rle4 else packed
                run = run[: total - filled]
                place += size + (place + size + is_odd) % 2
                x += value
            pixels[filled : filled + len(run)] = run
            filled += len(run)
        raise ValueError("the file has too many runs")


class PpmDecoder(ImageFile.PyDecoder):
    """Decodes binary PGM and PPM files whose largest value is not that of a whole byte."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        """Decode the whole file; raise ValueError if pixels are missing."""
        assert self.fd is not None  # noqa: S101
        maximum = self.args[-1]
        kind = np.dtype(">u2" if maximum > 255 else "u1")
        content = self.fd.read(_count_values(self) * kind.itemsize)
        values = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
        _set_values(self, _scale_table(self.mode, maximum, int(np.iinfo(kind).max))[values])
        return -1, 0


class PlainPpmDecoder(ImageFile.PyDecoder):
    """Decodes PBM, PGM and PPM files whose pixels are written as text."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        """Decode the whole file; raise ValueError if it is damaged."""
        assert self.fd is not None  # noqa: S101
        text = self.fd.read()
        if text.count(b"#") > MAX_COMMENTS:
            raise ValueError("the file has too many comments")
        text = _COMMENT.sub(b" ", text)
        if not _NUMBERS.fullmatch(text):
            raise ValueError("the pixels are not numbers")
        if self.mode == "1":
            digits = text.translate(None, b" \t\n\v\f\r")[: _count_values(self)]
            if digits.strip(b"01"):
                raise ValueError("the pixels are neither 0 nor 1")
            self.set_as_raw(digits.translate(bytes.maketrans(b"01", b"\xff\0")), "1;8")
            return -1, 0
        table = _scale_table(self.mode, self.args[-1], self.args[-1])
        total = _count_values(self)
        pixels = np.empty(total, table.dtype)
        filled = start = 0
        while filled < total and start < len(text):
            end = start + _BLOCK
            while end < len(text) and not text[end : end + 1].isspace():
                end += 1
            values = np.fromstring(text[start:end], dtype=np.int64, sep=" ")[: total - filled]
            if values.size and values.max() > self.args[-1]:
                raise ValueError("a pixel is larger than the maximum")
            pixels[filled : filled + values.size] = table[values]
            filled, start = filled + values.size, end
        _set_values(self, pixels[:filled])
        return -1, 0


def _count_values(decoder: ImageFile.PyDecoder) -> int:
    return decoder.state.xsize * decoder.state.ysize * Image.getmodebands(decoder.mode)


def _scale_table(mode: str, maximum: int, largest: int) -> NDArray[Any]:
    """Return the level of every value up to `largest`, if `maximum` is white."""
    white, kind = (65535, "<i4") if mode == "I" else (255, "u1")
    levels = np.rint(np.arange(largest + 1) / maximum * white)
    return np.minimum(levels, white).astype(kind)


def _set_values(decoder: ImageFile.PyDecoder, values: NDArray[Any]) -> None:
    decoder.set_as_raw(values.tobytes(), "I;32" if decoder.mode == "I" else decoder.mode)


def _unpack(packed: bytes) -> bytes:
    """Return the numbers of 4 bits as bytes."""
    pairs = np.frombuffer(packed, np.uint8)
    return np.stack([pairs >> 4, pairs & 15], axis=1).tobytes()
