"""A small MNIST, drawn by the imaginary pen, in the real file format."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.inference.preprocessing.digits import DigitPreprocess, find_digit
from training.data import synthetic_handwriting
from training.data.digits import FILES


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = struct.pack(">I", 0x800 + values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), 1))


def drawn(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % 10
    fields = [
        find_digit(synthetic_handwriting.write(int(label), rng), DigitPreprocess())
        for label in labels
    ]
    return np.stack(fields), labels


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four files with 40 and 20 digits."""
    folder = tmp_path_factory.mktemp("mnist")
    for (images, labels), count in zip(FILES.values(), (40, 20), strict=True):
        pixels, truth = drawn(count, count)
        write_idx(folder / images, pixels)
        write_idx(folder / labels, truth)
    return folder


@pytest.fixture(scope="session")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests render once for all."""
    return tmp_path_factory.mktemp("pools")


@pytest.fixture
def workplace(tmp_path: Path, pools: Path) -> Path:
    """A folder to train in: what is rendered there is kept for other tests."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "pools").symlink_to(pools)
    return tmp_path
