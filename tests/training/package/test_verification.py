import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from evaluation.sources import open_source
from training.package.model_spec import PackageError, read_spec
from training.package.verification import expect, to_json, verify

LABELS = ("blue", "green", "red")
RAW = PhotoPreprocess(resize=40, crop=(32, 32), mean=(0,) * 3, std=(1 / 255,) * 3, color="BGR")


def make_model(folder: Path, spec: PhotoPreprocess, labels: tuple[str, ...] = LABELS) -> Artifact:
    """A model that compares the mean of each channel, in BGR and of values of 0 to 255, with 60."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
                helper.make_node("Sub", ["mean", "offset"], ["distance"]),
                helper.make_node("Clip", ["distance", "low", "high"], ["scores"]),
            ],
            "colors",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
            [
                # Values of 0 to 1 are below the offset: the scores of all labels are equal then.
                numpy_helper.from_array(np.array(60, np.float32), "offset"),
                numpy_helper.from_array(np.array(0, np.float32), "low"),
                numpy_helper.from_array(np.array(9, np.float32), "high"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 9
    folder.mkdir()
    onnx.save(model, folder / artifact.ONNX)
    manifest = Manifest(
        name="colors", version="1", architecture="onnx", labels=labels, preprocess=spec, files={}
    )
    return artifact.write_manifest(folder, manifest)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten noisy images per label, in which one channel is brighter."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for channel, label in enumerate(reversed(LABELS)):
        (folder / label).mkdir()
        for index in range(10):
            pixels = rng.integers(0, 90, (48, 64, 3))
            pixels[..., channel] += 60
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{index}.png")
    return folder


def check(model: Artifact, folder: Path) -> list[str]:
    with open_source(folder) as source:
        return verify(model, source)


def test_right_preprocessing_has_no_warning(tmp_path: Path, images: Path) -> None:
    lines = check(make_model(tmp_path / "model", RAW), images)
    assert lines == [f"verified on 30 images of {images.name}: top-1 100.0% (30 of 30)"]


@pytest.mark.parametrize(
    "change",
    [
        {"std": (1.0,) * 3},
        {"std": (1.0,) * 3, "color": "RGB"},
        {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "color": "RGB"},
    ],
)
def test_better_preprocessing_is_suggested_as_an_option(
    tmp_path: Path, images: Path, change: dict[str, object]
) -> None:
    wrong = RAW.model_copy(update=change)
    lines = check(make_model(tmp_path / "model", wrong), images)
    assert "top-1 33.3%" in lines[0]
    assert "another preprocessing is right for 100.0%" in lines[-1]
    option = re.search(r"--preprocess '(.*)'", lines[-1])
    assert option is not None
    spec = read_spec(option[1])
    assert isinstance(spec, PhotoPreprocess)
    assert spec.color == "BGR"
    assert "100.0%" in check(make_model(tmp_path / "right", spec), images)[0]


def test_labels_in_another_order_are_reported(tmp_path: Path, images: Path) -> None:
    lines = check(make_model(tmp_path / "model", RAW, ("green", "blue", "red")), images)
    assert "in another order than the outputs" in lines[1]
    assert "'blue' as 'green'" in lines[1]


def test_classes_that_are_no_labels_are_refused(tmp_path: Path, images: Path) -> None:
    model = make_model(tmp_path / "model", RAW, ("0", "1", "2"))
    with pytest.raises(PackageError, match=r"3 \(blue, green, red\), but the labels are 3 \(0, 1"):
        check(model, images)


def test_expected_label_is_compared(tmp_path: Path, images: Path) -> None:
    model, image = make_model(tmp_path / "model", RAW), images / "red" / "0.png"
    assert expect(model, []) == []
    (line,) = expect(model, [f"{image}=red"])
    assert "'red' as expected" in line
    with pytest.raises(PackageError, match=r"predicts 'red' .* Nothing was packaged"):
        expect(model, [f"{image}=red", f"{image}=blue"])


def test_network_is_loaded_once_for_all_expectations(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = [], runtimes.load

    def count(model: Artifact, name: runtimes.RuntimeName) -> runtimes.Runtime:
        loaded.append(name)
        return load(model, name)

    monkeypatch.setattr(runtimes, "load", count)
    expect(
        make_model(tmp_path / "model", RAW),
        [f"{images}/{label}/{index}.png={label}" for label in LABELS for index in range(2)],
    )
    assert loaded == ["onnx"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image.png", "pass IMAGE=LABEL"),
        ("image.png=pink", r"'pink' is not one of 3 \(blue"),
        ("absent.png=red", "cannot be read"),
    ],
)
def test_invalid_expectation_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        expect(make_model(tmp_path / "model", RAW), [text])


def test_spec_can_be_typed_as_json() -> None:
    assert read_spec(to_json(RAW)) == RAW
    assert json.loads(to_json(RAW))["kind"] == "image"
    with pytest.raises(PackageError, match=r"--preprocess: .*Invalid JSON"):
        read_spec("{")
