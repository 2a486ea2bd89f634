"""A new version of a model folder keeps its predecessor."""

from pathlib import Path

import pytest

from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package.model_spec import PackageError
from training.package.versions import next_version, replace_folder


def write_model(folder: Path, version: str = "1") -> Artifact:
    folder.mkdir(parents=True)
    (folder / artifact.ONNX).write_bytes(version.encode())
    manifest = Manifest(
        name="pets",
        version=version,
        architecture="onnx",
        labels=("cat", "dog"),
        preprocess=PhotoPreprocess(),
        files={},
    )
    return artifact.write_manifest(folder, manifest)


def replace(folder: Path, requested: str | None = None) -> str:
    new = write_model(folder.parent / "new" / folder.name)
    return replace_folder(folder, new, next_version(folder, requested)).manifest.version


def test_versions_are_counted_and_predecessors_kept(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    assert [replace(folder) for _ in range(3)] == ["1", "2", "3"]
    assert artifact.read(folder).manifest.version == "3"
    kept = {path.name: artifact.read(path) for path in (tmp_path / ".previous").iterdir()}
    assert {name: model.manifest.version for name, model in kept.items()} == {
        "pets@1": "1",
        "pets@2": "2",
    }


@pytest.mark.parametrize(("present", "expected"), [("9", "10"), ("1.9", "1.10"), ("v2", "v3")])
def test_last_number_of_the_version_is_counted_up(
    tmp_path: Path, present: str, expected: str
) -> None:
    write_model(tmp_path / "pets", present)
    assert next_version(tmp_path / "pets") == expected


def test_version_of_a_kept_model_is_not_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    write_model(folder, "1")
    write_model(tmp_path / ".previous" / "pets@2", "2")
    assert replace(folder) == "3"


def test_requested_version_is_used(tmp_path: Path) -> None:
    assert replace(tmp_path / "pets", "2026.1") == "2026.1"
    assert replace(tmp_path / "pets") == "2026.2"


@pytest.mark.parametrize("requested", ["1", "2"])
def test_version_in_use_is_refused(tmp_path: Path, requested: str) -> None:
    for _ in range(2):
        replace(tmp_path / "pets")
    with pytest.raises(PackageError, match=f"has a version {requested} already"):
        next_version(tmp_path / "pets", requested)


@pytest.mark.parametrize("requested", ["", "../1", "a b", "-1", "é"])
def test_invalid_version_is_refused(tmp_path: Path, requested: str) -> None:
    with pytest.raises(PackageError, match="a version may contain"):
        next_version(tmp_path / "pets", requested)


def test_version_without_a_number_requires_another(tmp_path: Path) -> None:
    write_model(tmp_path / "pets", "final")
    with pytest.raises(PackageError, match="does not end in a number; pass --version"):
        next_version(tmp_path / "pets")
    assert next_version(tmp_path / "pets", "final-2") == "final-2"


def test_folder_that_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "notes.txt").touch()
    with pytest.raises(PackageError, match="not a model folder that can be read; move it"):
        next_version(tmp_path / "pets")


def test_version_that_exists_twice_is_reported_before_anything_is_moved(tmp_path: Path) -> None:
    write_model(tmp_path / "pets", "1")
    write_model(tmp_path / ".previous" / "pets@1", "1")
    with pytest.raises(PackageError, match="version 1 of pets exists twice"):
        next_version(tmp_path / "pets")


def test_slash_in_an_earlier_version_names_no_other_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "pets", "../../1")
    assert replace(tmp_path / "pets", "2") == "2"
    assert [path.name for path in (tmp_path / ".previous").iterdir()] == ["pets@.._.._1"]
