"""MNIST's own files: pictures and labels in LeCun's idx format, plain or gzipped."""

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
# Above so many bytes no more than so many times the packed size, as in a zip; MNIST is near 5.
_RATIO_FROM: Final = 1_000_000
_RATIO: Final = 200
_IMAGES: Final = re.compile(r"images([-.])idx3")
_KIND: Final = {3: "pictures", 1: "labels"}

Pixels = NDArray[np.uint8]


def is_mnist(folder: Path) -> bool:
    """Whether the folder holds one of MNIST's two files of pictures."""
    return any(_find(folder, split, "images-idx3") for split in SPLITS.values())


def is_images_file(path: Path) -> bool:
    """Whether it is called like a file of pictures, as `t10k-images-idx3-ubyte.gz`."""
    return bool(_IMAGES.search(path.name))


def open_mnist(folder: Path, split: str) -> Source:
    """Open the `test` or `train` split in a folder of MNIST's files.

    Raises SourceError where one is missing or damaged.
    """
    found = [_find(folder, SPLITS[split], kind) for kind in ("images-idx3", "labels-idx1")]
    if None in found:
        kind = ("images-idx3", "labels-idx1")[found.index(None)]
        raise SourceError(f"{folder} has no {SPLITS[split]}-{kind}-ubyte.gz: no {split} split")
    images, labels = (path for path in found if path)
    return _open(images, labels, f"{folder.name or folder} ({split})")


def open_images(path: Path) -> Source:
    """Open a file of pictures; the one of their labels lies beside it.

    Raises SourceError where that is not so, or one is damaged.
    """
    name = _IMAGES.sub(r"labels\1idx1", path.name).removesuffix(".gz")
    beside = (path.with_name(name + ending) for ending in (".gz", ""))
    labels = next((other for other in beside if other.is_file()), None)
    if labels is None:
        raise SourceError(f"{path}: the file of its labels, {name} or {name}.gz, is not beside it")
    return _open(path, labels, path.name)


def read_idx(path: Path, rank: int) -> Pixels:
    """Read an idx file of bytes: two zeros, type, rank, sizes, data.

    No more is read than its head promises. Raises SourceError where it is something else.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(path, file, rank)  # type: ignore[arg-type]  # GzipFile is no BinaryIO
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is damaged: it cannot be read") from error


def _read(path: Path, file: BinaryIO, rank: int) -> Pixels:
    head = file.read(4 + 4 * rank)
    if len(head) < 4 + 4 * rank or head[:4] != bytes((0, 0, 8, rank)):
        raise SourceError(f"{path} is not an idx file of {_KIND[rank]}")
    shape = struct.unpack(f">{rank}I", head[4:])
    size = math.prod(shape)
    if size > MAX_BYTES:
        raise SourceError(f"{path} promises {size:,} bytes; no more than {MAX_BYTES:,} are read")
    if size > _RATIO_FROM and path.suffix == ".gz" and size > _RATIO * path.stat().st_size:
        raise SourceError(f"{path} promises more than {_RATIO} times its packed size")
    data = file.read(size + 1)
    if len(data) != size:
        raise SourceError(f"{path} is not as long as its head says")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _open(images: Path, labels: Path, name: str) -> Source:
    pixels, truth = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(truth):
        raise SourceError(
            f"{images} holds {len(pixels):,} pictures, {labels} {len(truth):,} labels"
        )
    if not pixels.size:
        raise SourceError(f"{images} holds no pictures")
    items = [Item(f"{index:05d}.png", str(label)) for index, label in enumerate(truth)]

    def read(index: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels[index]).save(file, "PNG", compress_level=1)
        return file.getvalue()

    return Source(name, items, read)


def _find(folder: Path, split: str, kind: str) -> Path | None:
    names = (f"{split}-{kind}-ubyte.gz", f"{split}-{kind}-ubyte")
    return next((path for name in names if (path := folder / name).is_file()), None)
