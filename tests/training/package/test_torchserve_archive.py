"""Archives of TorchServe: unpacked without running the code in them."""

import hashlib
import json
import re
from argparse import Namespace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from training.package import torchserve_archive
from training.package.__main__ import main
from training.package.labels import read_labels
from training.package.model_spec import PackageError

ARCHITECTURE = ["--architecture", "torchvision/squeezenet1_1"]
LABELS = {"0": ["n01", "crane"], "1": ["n02", "crane"], "2": "owl"}
# Written by torch-model-archiver; running it would fail the test.
WEIGHTS = b"weights"
CODE = "raise SystemExit('the code of the archive was executed')"


def write_archive(
    folder: Path,
    weights: bytes = WEIGHTS,
    *,
    handler: str = "image_classifier",
    labels: object = LABELS,
    name: str = "squeezenet1_1-b8a52dc0.pth",
    **model: Any,
) -> Path:
    path = folder / "birds.mar"
    described = {
        "modelName": "birds",
        "serializedFile": name,
        "handler": handler,
        "modelFile": "model.py",
        "modelVersion": "2.5",
    }
    with ZipFile(path, "w") as archive:
        manifest = {"runtime": "python", "model": described | model, "archiverVersion": "0.12.0"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr(name, weights)
        archive.writestr("model.py", CODE)
        if labels is not None:
            archive.writestr("index_to_name.json", json.dumps(labels))
    return path


def unpack(path: Path, *options: str) -> Namespace:
    """Return the options of the command line after `unpack`."""
    known = ("architecture", "labels", "preprocess", "version", "sha256")
    chosen = dict(zip(options[::2], options[1::2], strict=True))
    values = {name: chosen.get(f"--{name}") for name in known}
    folder = path.parent / "unpacked"
    folder.mkdir(exist_ok=True)
    result = Namespace(name="birds", checkpoint=path, out=path.parent / "out", **values)
    torchserve_archive.unpack(result, folder)
    return result


def error_of(path: Path, *options: str) -> str:
    with pytest.raises(PackageError) as caught:
        unpack(path, *options)
    return str(caught.value)


def test_archive_becomes_a_checkpoint(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    options = unpack(path, *ARCHITECTURE, "--sha256", digest)
    assert options.checkpoint.read_bytes() == WEIGHTS
    assert options.checkpoint.name == "birds.pth"
    assert read_labels(options.labels) == ("crane (n01)", "crane (n02)", "owl")
    assert (options.preprocess, options.version, options.sha256) == ("imagenet", "2.5", None)


def test_own_options_take_precedence(tmp_path: Path) -> None:
    own = ("--labels", "own.txt", "--preprocess", "own.json", "--version", "9")
    options = unpack(write_archive(tmp_path), *ARCHITECTURE, *own)
    assert (options.labels, options.preprocess, options.version) == ("own.txt", "own.json", "9")


def test_version_of_a_second_archive_is_counted_up(tmp_path: Path) -> None:
    (tmp_path / "out" / "birds").mkdir(parents=True)
    assert unpack(write_archive(tmp_path), *ARCHITECTURE).version is None


def test_command_reports_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--architecture torchvision/squeezenet1_1"):
        main(["birds", "--checkpoint", str(write_archive(tmp_path))])


def test_architecture_is_suggested(tmp_path: Path) -> None:
    message = error_of(write_archive(tmp_path))
    assert "--architecture torchvision/squeezenet1_1" in message


def test_labels_of_an_archive_can_be_used_alone(tmp_path: Path) -> None:
    options = Namespace(labels=write_archive(tmp_path))
    torchserve_archive.unpack_labels(options, tmp_path)
    assert read_labels(options.labels) == ("crane (n01)", "crane (n02)", "owl")
    options.labels = tmp_path / "missing.mar"
    with pytest.raises(PackageError, match="cannot be read"):
        torchserve_archive.unpack_labels(options, tmp_path)


def test_names_in_a_recipe_are_quoted(tmp_path: Path) -> None:
    name = "$(reboot).pt"
    path = write_archive(tmp_path, name=name, handler="birds.py")
    assert f" '{name}' > weights.pt" in error_of(path)


@pytest.mark.parametrize("handler", ["birds.py", "my_handler.py:Handler", "object_detector"])
def test_other_handler_is_refused_with_a_recipe(tmp_path: Path, handler: str) -> None:
    message = error_of(write_archive(tmp_path, handler=handler), *ARCHITECTURE)
    assert handler in message
    assert ".venv/bin/python -m training.package birds --checkpoint" in message


@pytest.mark.parametrize(
    "labels", [{"0": "a", "2": "b"}, {"0": 1}, {"0": []}, ["a"], {}, {"0": [1, "a"]}]
)
def test_labels_must_name_every_class(tmp_path: Path, labels: object) -> None:
    message = error_of(write_archive(tmp_path, labels=labels), *ARCHITECTURE)
    assert "does not name every class" in message


def test_checksum_is_that_of_the_archive(tmp_path: Path) -> None:
    message = error_of(write_archive(tmp_path), *ARCHITECTURE, "--sha256", "0" * 64)
    assert "differs from --sha256" in message


@pytest.mark.parametrize("serialized", [None, 1, "missing.pth", "../../etc/passwd"])
def test_archive_without_weights_is_refused(tmp_path: Path, serialized: object) -> None:
    path = write_archive(tmp_path, serializedFile=serialized)
    assert "no weights" in error_of(path, *ARCHITECTURE)


def test_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "birds.mar"
    assert "file not found" in error_of(path)
    path.write_bytes(b"tar")
    assert "is damaged or not a zip" in error_of(path)
    with ZipFile(path, "w") as archive:
        archive.writestr("x", b"")
    assert "no archive of TorchServe" in error_of(path)


def test_archive_that_inflates_too_much_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(3_000_000))
    assert "200 times its compressed size" in error_of(path, *ARCHITECTURE)


def test_errors_name_the_archive_instead_of_a_temporary_folder(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: {re.escape(str(path / 'birds.pth'))} "):
        main(["birds", str(path), *ARCHITECTURE, "--out", str(tmp_path / "out")])


def test_torchscript_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "net.pt"
    with ZipFile(script, "w") as archive:
        archive.writestr("net/constants.pkl", b"")
    path = write_archive(tmp_path, script.read_bytes(), name="birds.pt")
    message = error_of(path, *ARCHITECTURE)
    assert "is not executed" in message
    assert ".venv/bin/python -m training.package birds --onnx" in message
