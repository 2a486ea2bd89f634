"""MNIST and UCI digits are read; missing and damaged files raise a clear error."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.small_training import write_idx
from training.data.digits import FILES, DataError, Digits, find_mnist, read_mnist, read_uci


def test_idx_files_are_read(small_mnist: Path) -> None:
    digits = read_mnist(find_mnist(small_mnist, Path("unused")), "train")
    assert digits.pixels.shape == (40, 28, 28)
    assert digits.labels[:12].tolist() == [*range(10), 0, 1]
    assert len(read_mnist(small_mnist, "test")) == 20


def test_real_mnist_is_read(test_data: Path) -> None:
    digits = read_mnist(test_data / "mnist", "test")
    assert digits.pixels.shape == (10_000, 28, 28)
    assert np.bincount(digits.labels).min() > 800


def test_folder_without_mnist_raises_error_with_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz"):
        find_mnist(tmp_path, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b broken"])
def test_damaged_file_raises_error_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILES["test"][0]).write_bytes(content)
    with pytest.raises(DataError, match="t10k-images"):
        read_mnist(tmp_path, "test")


def test_missing_file_is_not_reported_as_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz does not exist"):
        read_mnist(tmp_path, "test")


def test_different_numbers_of_images_and_labels_raise_error(tmp_path: Path) -> None:
    write_idx(tmp_path / FILES["test"][0], np.zeros((3, 28, 28), dtype=np.uint8))
    write_idx(tmp_path / FILES["test"][1], np.zeros(2, dtype=np.uint8))
    with pytest.raises(DataError, match="3 images but 2 labels"):
        read_mnist(tmp_path, "test")


def test_uci_digits_are_split_into_training_and_validation() -> None:
    training, validation = read_uci()
    assert len(training) + len(validation) == 1797
    assert isinstance(training, Digits)
    assert training.pixels.max() == 255
