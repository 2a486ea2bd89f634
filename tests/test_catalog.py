"""Which models are served."""

from pathlib import Path

import pytest

from backend.catalog import choose_default, discover
from backend.inference.errors import ArtifactError
from tests.fake_models import write_model


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for name in ("zebra", "ant", "mnist-cnn"):
        write_model(tmp_path, name)
    (tmp_path / "not-a-model").mkdir()
    return tmp_path


def test_every_model_folder_is_served_and_nothing_else(models_dir: Path) -> None:
    assert list(discover(models_dir)) == ["ant", "mnist-cnn", "zebra"]


def test_named_models_only(models_dir: Path) -> None:
    assert list(discover(models_dir, " zebra, ant,")) == ["zebra", "ant"]


@pytest.mark.parametrize("names", ["cat", "ant,cat", "../ant", "/etc"])
def test_a_name_that_is_not_there_refuses_to_boot(models_dir: Path, names: str) -> None:
    with pytest.raises(ArtifactError, match="PRISM_MODELS"):
        discover(models_dir, names)


def test_a_folder_without_models_refuses_to_boot(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no model folder"):
        discover(tmp_path)
    with pytest.raises(ArtifactError, match="no folder"):
        discover(tmp_path / "absent")


def test_the_default_is_the_digit_model_else_the_first_by_name(models_dir: Path) -> None:
    folders = discover(models_dir)
    assert choose_default(folders) == "mnist-cnn"
    assert choose_default(folders, "zebra") == "zebra"
    del folders["mnist-cnn"]
    assert choose_default(folders) == "ant"
    with pytest.raises(ArtifactError, match="PRISM_DEFAULT_MODEL=cat"):
        choose_default(folders, "cat")
