"""ONNX files become models with the labels and the preprocessing that they describe."""

import argparse
import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from backend.inference.models import artifact
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.training.package.onnx_graphs import (
    SIDE,
    constant,
    make_model,
    mean_of_channels,
    save,
    save_with_external_data,
    value,
)
from training.package.__main__ import main
from training.package.imported import ASSUMED, Imported
from training.package.kinds import onnx_graph
from training.package.model_spec import PackageError
from training.package.onnx_metadata import RAW_STD

NAMES = "{0: 'cat', 1: 'dog', 2: 'owl'}"
LABELS = ("cat", "dog", "owl")
ULTRALYTICS = {
    "author": "Ultralytics",
    "task": "classify",
    "stride": "1",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "names": NAMES,
}
CUSTOM_VISION = {
    "Image.BitmapPixelFormat": "Bgr8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


def read(path: Path, labels: Path | None = None) -> Imported:
    options = argparse.Namespace(sha256=None, output_name=None, labels=labels)
    assert onnx_graph.matches(path)
    return onnx_graph.read(path, options)


def read_photo(model: ModelProto, folder: Path) -> tuple[PhotoPreprocess, str]:
    found = read(save(model, folder / "g.onnx"))
    assert isinstance(found.spec, PhotoPreprocess)
    return found.spec, found.provenance["preprocess"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"names": NAMES},
        {"classes": '["cat", "dog", "owl"]'},
        {"id2label": '{"0": "cat", "1": "dog", "2": "owl"}'},
        {"class_names": "cat,dog,owl"},
        {"labels": "cat\ndog\nowl"},
    ],
)
def test_labels_in_metadata_are_read(tmp_path: Path, metadata: dict[str, str]) -> None:
    found = read(save(mean_of_channels(metadata=metadata), tmp_path / "g.onnx"))
    assert found.labels == LABELS
    assert found.provenance["labels"] == f"metadata {next(iter(metadata))!r}"


def test_equal_labels_in_metadata_are_refused(tmp_path: Path) -> None:
    path = save(mean_of_channels(metadata={"names": '["a", "a", "b"]'}), tmp_path / "g.onnx")
    with pytest.raises(PackageError, match=r"occurs twice.*--labels"):
        read(path)


def test_ultralytics_describes_its_preprocessing(tmp_path: Path) -> None:
    spec, source = read_photo(mean_of_channels(metadata=ULTRALYTICS), tmp_path)
    assert (spec.resize, spec.crop, spec.mean, spec.std) == (32, (32, 32), (0,) * 3, (1,) * 3)
    assert not source.startswith(ASSUMED)


def test_detector_of_ultralytics_is_refused(tmp_path: Path) -> None:
    metadata = ULTRALYTICS | {"task": "detect"}
    with pytest.raises(PackageError, match="the task 'detect'"):
        read(save(mean_of_channels(metadata=metadata), tmp_path / "g.onnx"))


def test_custom_vision_zip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", mean_of_channels().SerializeToString())
        archive.writestr("labels.txt", "cat\ndog\nowl")
        archive.writestr("metadata_properties.json", json.dumps(CUSTOM_VISION))
        archive.writestr("cvexport.manifest", "{}")
        archive.writestr(".DS_Store", "")
    found = read(path)
    assert found.labels == LABELS
    spec = found.spec
    assert isinstance(spec, PhotoPreprocess)
    assert (spec.color, spec.resize, spec.std) == ("BGR", (32, 32), (RAW_STD,) * 3)
    assert not found.provenance["preprocess"].startswith(ASSUMED)


def test_multi_label_network_of_custom_vision_keeps_its_task(tmp_path: Path) -> None:
    metadata = CUSTOM_VISION | {"CustomVision.Postprocess.Method": "ClassificationMultiLabel"}
    found = read(save(mean_of_channels(metadata=metadata), tmp_path / "g.onnx"))
    assert (found.task, found.output) == ("multi-label", "probabilities")


def test_folder_with_a_config_and_weights_is_read(tmp_path: Path) -> None:
    save_with_external_data(tmp_path, "model.onnx_data")
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog", "2": "owl"}}')
    found = read(tmp_path)
    assert (found.labels, found.provenance["labels"]) == (LABELS, "config.json")


def test_several_graphs_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(mean_of_channels(), tmp_path / f"{name}.onnx")
    with pytest.raises(PackageError, match=r"a\.onnx, b\.onnx; pass one"):
        read(tmp_path)


def test_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", mean_of_channels().SerializeToString())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"GlobalAverage", b"GlobalXXXXXXX"))
    with pytest.raises(PackageError, match="is damaged"):
        read(path)


def test_damaged_compressed_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", mean_of_channels().SerializeToString())
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(PackageError, match="is damaged"):
        read(path)


def test_zip_with_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", b"")
        archive.writestr(".", b"")
    with pytest.raises(PackageError, match="rename it"):
        read(path)


def test_errors_name_the_zip_instead_of_a_temporary_folder(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    for name, content in (("labels.txt", "a\na\nb"), ("metadata_properties.json", "[]")):
        with ZipFile(path, "w") as archive:
            archive.writestr("model.onnx", mean_of_channels().SerializeToString())
            archive.writestr(name, content)
        with pytest.raises(PackageError, match=f"^{re.escape(str(path / name))}"):
            read(path)


@pytest.mark.parametrize(("size", "is_bomb"), [(900_000, False), (3_000_000, True)])
def test_zip_that_inflates_too_much_is_refused(tmp_path: Path, size: int, is_bomb: bool) -> None:
    path = tmp_path / "export.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", bytes(size))
    reason = "200 times its compressed size" if is_bomb else "not a valid ONNX file"
    with pytest.raises(PackageError, match=reason):
        read(path)


@pytest.mark.parametrize("side", [SIDE, "h"])
def test_uint8_input_takes_values_of_0_to_255(tmp_path: Path, side: int | str) -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    shape: list[int | str] = ["n", 3, side, side]
    model = mean_of_channels([cast], kind=TensorProto.UINT8, last="y", shape=shape)
    spec, source = read_photo(model, tmp_path)
    assert (spec.mean, spec.std) == ((0,) * 3, (RAW_STD,) * 3)
    assert spec.crop == ((SIDE, SIDE) if side == SIDE else (224, 224))
    assert spec.resize == (37 if side == SIDE else 256)
    assert source.startswith(ASSUMED)
    assert "the input has the type uint8" in source


def test_integer_input_takes_values_of_0_to_255(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    spec, source = read_photo(mean_of_channels([cast], kind=TensorProto.INT32, last="y"), tmp_path)
    assert (spec.mean, spec.std) == ((0,) * 3, (RAW_STD,) * 3)
    assert "an integer type" in source


def test_int8_input_requires_preprocess(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    model = mean_of_channels([cast], kind=TensorProto.INT8, last="y")
    assert read(save(model, tmp_path / "g.onnx")).spec is None


def test_scale_in_the_graph_is_not_applied_twice(tmp_path: Path) -> None:
    scale = helper.make_node("Mul", ["x", "k"], ["y"])
    model = mean_of_channels([scale], constants=[constant("k", 1 / 255)], last="y")
    spec, source = read_photo(model, tmp_path)
    assert spec.std == (RAW_STD,) * 3
    assert "the graph scales them itself" in source


def test_unknown_photo_model_gets_the_values_of_its_framework(tmp_path: Path) -> None:
    spec, source = read_photo(mean_of_channels(producer_name="pytorch"), tmp_path)
    assert (spec.mean, spec.resize) == (PhotoPreprocess().mean, 37)
    assert source.startswith(ASSUMED)
    spec, _ = read_photo(mean_of_channels(producer_name="tf2onnx"), tmp_path)
    assert (spec.mean, spec.std, spec.resize) == ((0,) * 3, (1,) * 3, (32, 32))


def test_rectangle_is_resized_to_the_input(tmp_path: Path) -> None:
    spec, _ = read_photo(mean_of_channels(shape=["n", 3, 24, SIDE]), tmp_path)
    assert (spec.resize, spec.crop) == ((24, SIDE), (24, SIDE))


def flat_model(length: int, **options: Any) -> ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    weights = constant("w", np.ones((length, 3)))
    inputs, outputs = [value("x", ["n", length])], [value("scores", ["n", 3])]
    return make_model(nodes, inputs, outputs, [weights], **options)


def test_flat_color_input_is_a_photo(tmp_path: Path) -> None:
    spec, _ = read_photo(flat_model(3 * SIDE * SIDE, producer_name="skl2onnx"), tmp_path)
    assert (spec.layout, spec.crop, spec.channels) == ("flat", (SIDE, SIDE), 3)


def test_gray_input_is_a_digit_unless_labels_say_otherwise(tmp_path: Path) -> None:
    path = save(flat_model(784), tmp_path / "g.onnx")
    assert isinstance(read(path).spec, DigitPreprocess)
    labels = tmp_path / "labels.txt"
    labels.write_text("coat\nshirt\nshoe\n")
    spec = read(path, labels).spec
    assert isinstance(spec, PhotoPreprocess)
    assert (spec.channels, spec.layout, spec.crop) == (1, "flat", (28, 28))


def test_gray_digits_of_keras_have_values_of_0_to_1(tmp_path: Path) -> None:
    spec = read(save(flat_model(784, producer_name="tf2onnx"), tmp_path / "g.onnx")).spec
    assert isinstance(spec, DigitPreprocess)
    assert (spec.mean, spec.std) == (0, 1)


def test_command_packages_and_reports_where_values_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(mean_of_channels(metadata=ULTRALYTICS), tmp_path / "best.onnx")
    main(["animals", str(path), "--out", str(tmp_path / "models")])
    manifest = artifact.read(tmp_path / "models" / "animals").manifest
    assert manifest.labels == LABELS
    assert "ultralytics' metadata" in capsys.readouterr().out
