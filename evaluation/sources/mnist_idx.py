"""MNIST's files: images and labels in LeCun's idx format, plain or gzipped."""

import gzip
import io
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.errors import SourceError
from evaluation.sources.base import Item, Source

SPLITS: Final = {"train": "train", "test": "t10k"}
MAX_BYTES: Final = 2_000_000_000
# A gzipped file above _RATIO_FROM bytes may expand by this ratio at most; MNIST's is about 5.
_MAX_RATIO: Final = 200
_RATIO_FROM: Final = 1_000_000
_IMAGES: Final = re.compile(r"images([-.])idx3")
_CONTENT_BY_RANK: Final = {3: "images", 1: "labels"}

Pixels = NDArray[np.uint8]


def is_mnist(folder: Path) -> bool:
    """Whether the folder contains one of MNIST's two files of images."""
    return any(_find(folder, split, "images-idx3") for split in SPLITS.values())


def is_images_file(path: Path) -> bool:
    """Whether the file has the name of a file of images, such as `t10k-images-idx3-ubyte.gz`."""
    return bool(_IMAGES.search(path.name))


def open_mnist(folder: Path, split: str) -> Source:
    """Open the `test` or `train` split in a folder of MNIST's files.

    Raise SourceError if a file is missing or damaged.
    """
    kinds = ("images-idx3", "labels-idx1")
    files = [_find(folder, SPLITS[split], kind) for kind in kinds]
    if None in files:
        missing = f"{SPLITS[split]}-{kinds[files.index(None)]}-ubyte.gz"
        raise SourceError(f"{folder} has no {split} split: {missing} is missing")
    images, labels = (path for path in files if path)
    return _open(images, labels, f"{folder.name or folder} ({split})")


def open_images(path: Path) -> Source:
    """Open a file of images and the file of their labels in the same folder.

    Raise SourceError if a file is missing or damaged.
    """
    name = _IMAGES.sub(r"labels\1idx1", path.name).removesuffix(".gz")
    candidates = (path.with_name(name + suffix) for suffix in (".gz", ""))
    labels = next((file for file in candidates if file.is_file()), None)
    if labels is None:
        raise SourceError(
            f"{path}: the file of the labels, {name} or {name}.gz, is missing in the same folder"
        )
    return _open(path, labels, path.name)


def read_idx(path: Path, rank: int) -> Pixels:
    """Return the array of bytes in an idx file: two zeros, type, rank, sizes, data.

    Read no more than its header declares. Raise SourceError if it is not such a file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(path, file, rank)  # type: ignore[arg-type]  # GzipFile is no BinaryIO
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is damaged and cannot be read") from error


def _read(path: Path, file: BinaryIO, rank: int) -> Pixels:
    header = file.read(4 + 4 * rank)
    if len(header) < 4 + 4 * rank or header[:4] != bytes((0, 0, 8, rank)):
        raise SourceError(f"{path} is not an idx file of {_CONTENT_BY_RANK[rank]}")
    shape = struct.unpack(f">{rank}I", header[4:])
    size = math.prod(shape)
    if size > MAX_BYTES:
        raise SourceError(f"{path} declares {size:,} bytes; the limit is {MAX_BYTES:,}")
    if size > _RATIO_FROM and path.suffix == ".gz" and size > _MAX_RATIO * path.stat().st_size:
        raise SourceError(f"{path} declares more than {_MAX_RATIO} times its compressed size")
    data = file.read(size + 1)
    if len(data) != size:
        raise SourceError(f"{path} does not have the size that its header declares")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _open(images: Path, labels: Path, name: str) -> Source:
    pixels, truth = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(truth):
        raise SourceError(
            f"{images} contains {len(pixels):,} images, but {labels} {len(truth):,} labels"
        )
    if not pixels.size:
        raise SourceError(f"{images} contains no images")
    items = [Item(f"{index:05d}.png", str(label)) for index, label in enumerate(truth)]

    def read(index: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels[index]).save(file, "PNG", compress_level=1)
        return file.getvalue()

    return Source(name, items, read)


def _find(folder: Path, split: str, kind: str) -> Path | None:
    names = (f"{split}-{kind}-ubyte.gz", f"{split}-{kind}-ubyte")
    return next((path for name in names if (path := folder / name).is_file()), None)
