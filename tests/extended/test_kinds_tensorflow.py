"""Models of Keras, TensorFlow and Teachable Machine answer as in their frameworks."""

import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from backend.inference.models import artifact
from tests.extended import nine_images
from training.package.__main__ import main
from training.package.converters import environment
from training.package.imported import ASSUMED

TEACHABLE = ("converted_keras.zip", "converted_tflite.zip", "tm-my-image-model.zip")
SCALED = ("rescaling.keras", "rescaling.h5", "normalization.keras", "operators.keras", "saved")


@pytest.fixture(scope="session")
def python() -> Path:
    """Return the interpreter of the converter's environment, which also gets Pillow."""
    python = environment.prepare(environment.TENSORFLOW)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "pillow"], check=True, timeout=300)
    return python


@pytest.fixture(scope="session")
def sources(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    nine_images.write(folder / "images")
    script = Path(__file__).with_name("keras_models.py")
    subprocess.run([python, script, folder / "images", folder], check=True, timeout=900)
    return folder


def package(sources: Path, name: str, *options: str) -> Path:
    main(["animals", str(sources / name), "--out", str(sources / "models"), *options])
    return sources / "models" / "animals"


@pytest.mark.parametrize(
    "name", [*SCALED, "plain.keras", "mobilenetv2.keras", "resnet50.h5", "float.tflite"]
)
def test_model_equals_its_framework(sources: Path, name: str) -> None:
    folder = package(sources, name)
    found = nine_images.classify(folder, sorted((sources / "images").glob("*.png")))
    expected = np.load(sources / f"{name}.npy")
    assert np.ptp(expected, axis=0).max() > 0.05  # the images are told apart
    np.testing.assert_allclose(found, expected, atol=1e-3)
    source = artifact.read(folder).manifest.provenance["preprocess"]
    assert source.startswith(ASSUMED)
    assert ("the graph scales them itself" in source) == (name in SCALED)


@pytest.mark.parametrize("name", TEACHABLE)
def test_export_of_teachable_machine_equals_its_code(sources: Path, name: str) -> None:
    folder = package(sources, name)
    manifest = artifact.read(folder).manifest
    assert manifest.labels == ("cat", "dog", "owl")
    assert not manifest.provenance["preprocess"].startswith(ASSUMED)
    found = nine_images.classify(folder, sorted((sources / "images").glob("*.png")))
    expected = np.load(sources / f"{name}.npy")
    assert (found.argmax(1) == expected.argmax(1)).all()
    # Of other images, Teachable Machine cuts the square before it resizes: half a pixel differs.
    is_square = [width == height for width, height in nine_images.SIZES]
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(found[is_square], expected[is_square], atol=1e-3)


def test_quantized_model_gives_the_same_labels(sources: Path) -> None:
    """The converted network computes in float32, so that probabilities differ by the rounding."""
    folder = package(sources, "quantized.tflite")
    found = nine_images.classify(folder, sorted((sources / "images").glob("*.png")))
    expected = np.load(sources / "quantized.tflite.npy")
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_saved_model_of_keras_2_is_converted(sources: Path) -> None:
    assert artifact.read(package(sources, "saved_keras2")).manifest.labels == ("0", "1", "2")


def test_python_code_is_refused_and_the_recipe_works(
    sources: Path, python: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="the layer 'lambda' is Python code") as refusal:
        package(sources, "lambda.keras")
    _, install, *convert, _ = str(refusal.value).split("type:")[1].splitlines()
    assert "pip install tensorflow tf2onnx" in install
    command = "\n".join(convert).replace("convert/bin/python", shlex.quote(str(python)))
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True, timeout=300)
    folder = package(tmp_path, "model.onnx")
    assert artifact.read(folder).manifest.labels == ("0", "1", "2")
