"""MNIST's files, real ones and damaged ones."""

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


def packed(values: NDArray[np.uint8]) -> bytes:
    head = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
    return head + values.tobytes()


def write(folder: Path, prefix: str = "t10k", ending: str = ".gz") -> Path:
    """Write three pictures and their labels; the file of the pictures."""
    squeeze = gzip.compress if ending else bytes
    images = folder / f"{prefix}-images-idx3-ubyte{ending}"
    images.write_bytes(squeeze(packed(PIXELS)))
    labels = folder / f"{prefix}-labels-idx1-ubyte{ending}"
    labels.write_bytes(squeeze(packed(LABELS)))
    return images


@pytest.mark.parametrize("ending", [".gz", ""])
@pytest.mark.parametrize("whole", [True, False])
def test_pictures_come_as_they_were_with_their_labels(
    tmp_path: Path, ending: str, whole: bool
) -> None:
    images = write(tmp_path, ending=ending)
    samples = list(open_source(tmp_path if whole else images).samples())
    assert [sample.label for sample in samples] == ["7", "2", "1"]
    assert [sample.name for sample in samples] == ["00000.png", "00001.png", "00002.png"]
    assert isinstance(samples[1], Sample)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(samples[1].content))), PIXELS[1])


def test_the_split_that_is_asked_for_is_read(tmp_path: Path) -> None:
    write(tmp_path, "train")
    assert len(open_source(tmp_path, split="train")) == 3
    with pytest.raises(SourceError, match=r"has no t10k-images-idx3-ubyte\.gz: no test split"):
        open_source(tmp_path, split="test")


def test_the_real_digits_are_ten_thousand(test_data: Path) -> None:
    source = open_source(test_data / "mnist")
    assert len(source) == 10_000
    assert source.labels == frozenset("0123456789")
    assert source.items[0].label == "7"


def test_labels_that_are_not_beside_the_pictures_are_asked_for(tmp_path: Path) -> None:
    images = write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(SourceError, match="the file of its labels, t10k-labels-idx1-ubyte or"):
        open_source(images)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged|is not an idx file"),
        (b"hello", "is damaged"),
        (gzip.compress(packed(PIXELS))[:-30], "is damaged"),
        (gzip.compress(packed(LABELS)), "is not an idx file of pictures"),
        (gzip.compress(packed(PIXELS)[:-1]), "is not as long as its head says"),
        (gzip.compress(packed(PIXELS) + b"x"), "is not as long as its head says"),
        (gzip.compress(struct.pack(">4I", 0x803, 2**31, 99, 99)), "no more than"),
        (gzip.compress(packed(PIXELS[:2])), "2 pictures, .* 3 labels"),
        (gzip.compress(packed(PIXELS[:0])), "0 pictures"),
    ],
)
def test_damaged_files_are_told_in_a_line(tmp_path: Path, content: bytes, reason: str) -> None:
    write(tmp_path).write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        open_source(tmp_path)


def test_no_more_is_unpacked_than_the_head_promises(tmp_path: Path) -> None:
    bomb = gzip.compress(packed(PIXELS) + bytes(50_000_000))
    path = write(tmp_path)
    path.write_bytes(bomb)
    with gzip.open(path) as file:
        with pytest.raises(SourceError):
            mnist_idx._read(path, file, 3)  # type: ignore[arg-type]
        assert file.tell() <= len(packed(PIXELS)) + 1


def test_a_head_that_promises_too_much_is_refused_before_anything_is_unpacked(
    tmp_path: Path,
) -> None:
    path = write(tmp_path)
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2_000_001, 50, 20) + bytes(1000)))
    with pytest.raises(SourceError, match=r"promises 2,000,001,000 bytes; no more than 2,000,"):
        open_source(tmp_path)


def test_what_is_packed_too_well_to_be_pictures_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(gzip.compress(packed(np.zeros((2_000, 50, 20), np.uint8))))
    with pytest.raises(SourceError, match="promises more than 200 times its packed size"):
        open_source(tmp_path)
