"""A small MNIST in the real file format, and a shared cache of rendered images."""

from pathlib import Path

import pytest

from tests.training.small_training import write_small_mnist


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of MNIST's four files with 40 training and 20 test digits."""
    return write_small_mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of rendered images that all trainings share."""
    return tmp_path_factory.mktemp("rendered")
