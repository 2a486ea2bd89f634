"""Tests of MNIST's files, valid and damaged."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.errors import SourceError
from evaluation.sources import mnist_idx, open_source
from evaluation.types import Sample

PIXELS = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([7, 2, 1], np.uint8)


def to_idx(values: NDArray[np.uint8]) -> bytes:
    head = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
    return head + values.tobytes()


def write_mnist(folder: Path, prefix: str = "t10k", suffix: str = ".gz") -> Path:
    """Write three images and their labels, and return the file of images."""
    compress = gzip.compress if suffix else bytes
    images = folder / f"{prefix}-images-idx3-ubyte{suffix}"
    images.write_bytes(compress(to_idx(PIXELS)))
    labels = folder / f"{prefix}-labels-idx1-ubyte{suffix}"
    labels.write_bytes(compress(to_idx(LABELS)))
    return images


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("is_folder", [True, False])
def test_images_and_labels_are_read(tmp_path: Path, suffix: str, is_folder: bool) -> None:
    images = write_mnist(tmp_path, suffix=suffix)
    samples = list(open_source(tmp_path if is_folder else images).samples())
    assert [sample.label for sample in samples] == ["7", "2", "1"]
    assert [sample.name for sample in samples] == ["00000.png", "00001.png", "00002.png"]
    assert isinstance(samples[1], Sample)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(samples[1].content))), PIXELS[1])


def test_requested_split_is_read(tmp_path: Path) -> None:
    write_mnist(tmp_path, "train")
    assert len(open_source(tmp_path, split="train")) == 3
    with pytest.raises(SourceError, match=r"no test split: t10k-images-idx3-ubyte\.gz is missing"):
        open_source(tmp_path, split="test")


def test_mnist_has_ten_thousand_test_digits(test_data: Path) -> None:
    source = open_source(test_data / "mnist")
    assert len(source) == 10_000
    assert source.labels == frozenset("0123456789")
    assert source.items[0].label == "7"


def test_missing_labels_raise_source_error(tmp_path: Path) -> None:
    images = write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(SourceError, match="the file of the labels, t10k-labels-idx1-ubyte or"):
        open_source(images)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged|is not an idx file"),
        (b"hello", "is damaged"),
        (gzip.compress(to_idx(PIXELS))[:-30], "is damaged"),
        (gzip.compress(to_idx(LABELS)), "is not an idx file of images"),
        (gzip.compress(to_idx(PIXELS)[:-1]), "does not have the size that its header declares"),
        (gzip.compress(to_idx(PIXELS) + b"x"), "does not have the size that its header declares"),
        (gzip.compress(struct.pack(">4I", 0x803, 2**31, 99, 99)), "the limit is"),
        (gzip.compress(to_idx(PIXELS[:2])), "2 images, .* 3 labels"),
        (gzip.compress(to_idx(PIXELS[:0])), "0 images"),
    ],
    ids=[
        "empty",
        "text",
        "truncated gzip",
        "labels instead of images",
        "truncated images",
        "trailing byte",
        "huge size",
        "too few images",
        "no images",
    ],  # contents differ in their time stamps
)
def test_damaged_files_raise_source_error(tmp_path: Path, content: bytes, reason: str) -> None:
    write_mnist(tmp_path).write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        open_source(tmp_path)


def test_reading_stops_at_the_declared_size(tmp_path: Path) -> None:
    bomb = gzip.compress(to_idx(PIXELS) + bytes(50_000_000))
    path = write_mnist(tmp_path)
    path.write_bytes(bomb)
    with gzip.open(path) as file:
        with pytest.raises(SourceError):
            mnist_idx._read(path, file, 3)  # type: ignore[arg-type]
        assert file.tell() <= len(to_idx(PIXELS)) + 1


def test_too_large_declared_size_is_rejected_before_inflating(
    tmp_path: Path,
) -> None:
    path = write_mnist(tmp_path)
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2_000_001, 50, 20) + bytes(1000)))
    with pytest.raises(SourceError, match=r"declares 2,000,001,000 bytes; the limit is 2,000,"):
        open_source(tmp_path)


def test_high_compression_ratio_is_rejected(tmp_path: Path) -> None:
    path = write_mnist(tmp_path)
    path.write_bytes(gzip.compress(to_idx(np.zeros((2_000, 50, 20), np.uint8))))
    with pytest.raises(SourceError, match="declares more than 200 times its compressed size"):
        open_source(tmp_path)
