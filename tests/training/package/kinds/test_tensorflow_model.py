"""Models of Keras and TensorFlow are recognized, and get the preprocessing that they tell.

The conversion itself is tested in tests/extended.
"""

import argparse
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnx
import pytest
from onnx import helper

from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.training.package.onnx_graphs import constant, make_model, value
from training.package.converters import environment
from training.package.converters.environment import RefusedError
from training.package.imported import ASSUMED, Imported
from training.package.kinds import detection, tensorflow_model
from training.package.model_spec import PackageError
from training.package.onnx_metadata import RAW_STD

SIDE = 64
HDF5 = b"\x89HDF\r\n\x1a\n"
TFLITE = b"\x20\x00\x00\x00TFL3"


def converted(*, scale: bool = False) -> onnx.ModelProto:
    """Return a graph as tf2onnx writes it: (N, H, W, 3), with three scores."""
    first = [helper.make_node("Mul", ["x", "k"], ["y"])] if scale else []
    nodes = [
        *first,
        helper.make_node(
            "ReduceMean", ["y" if scale else "x"], ["scores"], axes=[1, 2], keepdims=0
        ),
    ]
    inputs, outputs = [value("x", ["n", SIDE, SIDE, 3])], [value("scores", ["n", 3])]
    return make_model(nodes, inputs, outputs, [constant("k", 1 / 255)], producer_name="tf2onnx")


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the converter; return what it is called with, and answers."""
    answer: dict[str, Any] = {"model": converted(), "layers": [], "input": {}, "calls": []}

    def convert(_: object, kind: str, source: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
        answer["calls"].append((kind, source.name))
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer["model"], {"layers": answer["layers"], "input": answer["input"]}

    monkeypatch.setattr(environment, "convert", convert)
    return answer


def read(path: Path, name: str = "animals") -> Imported:
    options = argparse.Namespace(sha256=None, output_name=None, labels=None, name=name)
    kind = next(kind for kind in detection.KINDS if kind.matches(path))
    assert kind is tensorflow_model
    return tensorflow_model.read(path, options)


def spec_of(imported: Imported) -> PhotoPreprocess:
    assert isinstance(imported.spec, PhotoPreprocess)
    return imported.spec


def write_zip(path: Path, files: dict[str, bytes | str]) -> Path:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_keras(path: Path) -> Path:
    return write_zip(path, {"config.json": "{}", "metadata.json": "{}", "model.weights.h5": HDF5})


def test_files_are_recognized_by_their_content(tmp_path: Path, conversion: dict[str, Any]) -> None:
    (tmp_path / "a.h5").write_bytes(HDF5)
    (tmp_path / "b").write_bytes(TFLITE)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    write_keras(tmp_path / "c.keras")
    write_zip(tmp_path / "d.zip", {"export/1/saved_model.pb": b"\x08\x01"})
    for name in ("a.h5", "b", "saved", "c.keras", "d.zip"):
        read(tmp_path / name)
    expected = [("keras", "a.h5"), ("tflite", "b"), ("saved_model", "saved"), ("keras", "c.keras")]
    read(tmp_path / "saved" / "saved_model.pb")
    assert conversion["calls"] == [*expected, ("saved_model", "1"), ("saved_model", "saved")]


def test_scale_in_the_network_is_known(tmp_path: Path, conversion: dict[str, Any]) -> None:
    conversion["model"] = converted(scale=True)
    conversion["layers"] = [["Functional", "mobilenetv2_1.00_224"]]
    imported = read(write_keras(tmp_path / "m.keras"))
    spec = spec_of(imported)
    assert (spec.std, spec.resize, spec.layout) == ((RAW_STD,) * 3, (SIDE, SIDE), "NHWC")
    assert "the graph scales them itself" in imported.provenance["preprocess"]


@pytest.mark.parametrize(
    ("layer", "color", "mean"),
    [
        ("mobilenetv2_1.00_224", "RGB", 0.5),
        ("bn_Conv1", "RGB", 0.5),
        ("resnet50", "BGR", 103.939 / 255),
        ("resnet50v2", "RGB", 0.5),
        ("vgg16", "BGR", 103.939 / 255),
        ("densenet121", "RGB", 0.485),
        ("block1_conv1_bn", "RGB", 0.5),
        ("dense", "RGB", 0.0),
    ],
)
def test_known_architecture_tells_the_values(
    tmp_path: Path, conversion: dict[str, Any], layer: str, color: str, mean: float
) -> None:
    conversion["layers"] = [["InputLayer", "input"], ["Functional", layer]]
    imported = read(write_keras(tmp_path / "m.keras"))
    spec = spec_of(imported)
    assert (spec.color, spec.mean[0]) == (color, mean)
    assert imported.provenance["preprocess"].startswith(ASSUMED)


@pytest.mark.parametrize("name", ["keras_model.h5", "model_unquant.tflite", "model.tflite"])
def test_teachable_machine_is_known(tmp_path: Path, conversion: dict[str, Any], name: str) -> None:
    content = HDF5 if name.endswith("h5") else TFLITE
    path = write_zip(
        tmp_path / "converted.zip", {name: content, "labels.txt": "0 cat\n1 dog\n2 owl\n"}
    )
    imported = read(path)
    spec = spec_of(imported)
    assert imported.labels == ("cat", "dog", "owl")
    assert (spec.resize, spec.crop, spec.interpolation) == (SIDE, (SIDE, SIDE), "lanczos")
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert spec.crop_rounding == "none"
    assert not imported.provenance["preprocess"].startswith(ASSUMED)


def test_teachable_machine_of_the_browser_is_known(
    tmp_path: Path, conversion: dict[str, Any]
) -> None:
    metadata = json.dumps({"labels": ["cat", "dog", "owl"], "imageSize": SIDE})
    files: dict[str, bytes | str] = {
        "model.json": "{}",
        "metadata.json": metadata,
        "weights.bin": b"",
    }
    imported = read(write_zip(tmp_path / "tm.zip", files))
    assert (imported.labels, spec_of(imported).mean) == (("cat", "dog", "owl"), (0.5,) * 3)
    assert conversion["calls"][0][0] == "tfjs"


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "expected"),
    [
        ("uint8", 1 / 255, 0, (0.0, RAW_STD)),
        ("uint8", 1 / 128, 128, (0.0, RAW_STD)),
        ("int8", 1 / 255, -128, (128 / 255, RAW_STD)),
    ],
)
def test_quantization_of_the_input_tells_the_values(
    tmp_path: Path,
    conversion: dict[str, Any],
    dtype: str,
    scale: float,
    zero: int,
    expected: tuple[float, float],
) -> None:
    conversion["input"] = {"dtype": dtype, "scale": scale, "zero": zero}
    path = tmp_path / "m.tflite"
    path.write_bytes(TFLITE)
    spec = spec_of(read(path))
    np.testing.assert_allclose([spec.mean[0], spec.std[0]], expected, atol=1e-6)


def test_quantized_input_has_the_units_of_its_quantization(
    tmp_path: Path, conversion: dict[str, Any]
) -> None:
    """Values of -1 to 1 with the scale 1/127.5 and the zero 128 are pixels plus one half."""
    facts = {"dtype": "uint8", "scale": 1 / 127.5, "zero": 128}
    conversion["input"] = facts | {"normalization": [[127.5], [127.5]]}
    path = tmp_path / "m.tflite"
    path.write_bytes(TFLITE)
    spec = spec_of(read(path))
    black, white = ((value - spec.mean[0]) / spec.std[0] for value in (0, 1))
    assert (black, white) == pytest.approx((0.5, 255.5))


def test_metadata_of_tensorflow_lite_tells_the_values(
    tmp_path: Path, conversion: dict[str, Any]
) -> None:
    conversion["input"] = {"dtype": "float32", "scale": 0.0, "normalization": [[127.5], [127.5]]}
    path = tmp_path / "m.tflite"
    path.write_bytes(TFLITE)
    imported = read(path)
    assert (spec_of(imported).mean, spec_of(imported).std) == ((0.5,) * 3, (0.5,) * 3)
    assert "the metadata of TensorFlow Lite" in imported.provenance["preprocess"]


def test_labels_of_tensorflow_lite_are_read(tmp_path: Path, conversion: dict[str, Any]) -> None:
    path = write_zip(tmp_path / "m.tflite", {"labels.txt": "cat\ndog\nowl\n"})
    path.write_bytes(TFLITE + path.read_bytes())  # as its metadata appends them
    imported = read(path)
    assert imported.labels == ("cat", "dog", "owl")
    assert imported.provenance["labels"] == "the metadata of TensorFlow Lite"


def test_several_models_in_a_zip_are_refused(tmp_path: Path, conversion: dict[str, Any]) -> None:
    path = write_zip(tmp_path / "m.zip", {"a.h5": HDF5, "b.tflite": TFLITE})
    with pytest.raises(PackageError, match=r"a\.h5, b\.tflite"):
        read(path)
    assert not conversion["calls"]


def test_python_code_is_refused_with_what_to_type(
    tmp_path: Path, conversion: dict[str, Any]
) -> None:
    conversion["error"] = "LAMBDA the layer 'scale' is Python code, which is not executed"
    path = write_keras(tmp_path / "m.keras")
    with pytest.raises(PackageError) as refusal:
        read(path)
    message = str(refusal.value)
    assert "the layer 'scale' is Python code" in message
    assert "LAMBDA" not in message
    assert f"load_model('{path}', safe_mode=False)" in message
    assert "training.package animals model.onnx" in message


def test_reason_of_the_converter_is_reported(tmp_path: Path, conversion: dict[str, Any]) -> None:
    conversion["error"] = "Keras cannot load it: Unknown layer: 'Mine'"
    with pytest.raises(PackageError, match=r"Unknown layer: 'Mine'.*model\.export"):
        read(write_keras(tmp_path / "m.keras"))
