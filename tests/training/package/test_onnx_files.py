"""ONNX files of any exporter are read, or refused with what to do."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.training.package.onnx_graphs import (
    SIDE,
    constant,
    make_model,
    mean_of_channels,
    save,
    save_with_external_data,
    value,
)
from training.package import onnx_files
from training.package.model_spec import PackageError
from training.package.onnx_files import MAX_OPSET, OnnxImportError
from training.package.onnx_import import describe_graph, read_graph, run_graph

INPUTS = np.random.default_rng(0).random((2, 3, SIDE, SIDE), dtype=np.float32)
MEANS = INPUTS.mean((2, 3))


def scores(path: Path, inputs: np.ndarray = INPUTS) -> np.ndarray:
    return run_graph(read_graph(path), inputs)


def test_nodes_are_sorted(tmp_path: Path) -> None:
    model = mean_of_channels([helper.make_node("Relu", ["x"], ["y"])], last="y")
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    np.testing.assert_allclose(scores(save(model, tmp_path / "g.onnx")), MEANS, atol=1e-6)


def test_cycle_is_refused(tmp_path: Path) -> None:
    model = mean_of_channels([helper.make_node("Add", ["x", "scores"], ["y"])], last="y")
    with pytest.raises(OnnxImportError, match="cycle"):
        onnx_files.load(save(model, tmp_path / "g.onnx"))


def test_weights_beside_the_graph_are_read(tmp_path: Path) -> None:
    path = save_with_external_data(tmp_path, "weights.bin")
    np.testing.assert_allclose(scores(path), MEANS, atol=1e-6)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = save_with_external_data(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(OnnxImportError, match=r"needs the file weights\.bin"):
        onnx_files.load(path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname"])
def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    path = save_with_external_data(folder, "weights.bin")
    model = onnx_files._parse(path)
    model.graph.initializer[0].external_data[0].value = location
    with pytest.raises(OnnxImportError, match="outside of its folder"):
        onnx_files.load(save(model, path))


def test_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = save_with_external_data(folder, "weights.bin")
    (folder / "weights.bin").rename(tmp_path / "secret.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(OnnxImportError, match="outside of its folder"):
        onnx_files.load(path)


def test_operators_of_other_libraries_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("DecodeImage", ["x"], ["y"], domain="ai.onnx.contrib")
    path = save(mean_of_channels([node], last="y"), tmp_path / "g.onnx")
    with pytest.raises(OnnxImportError, match=r"ai\.onnx\.contrib\.DecodeImage"):
        onnx_files.load(path)


def test_newer_opset_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = save(mean_of_channels(opset=MAX_OPSET + 1), tmp_path / "g.onnx")
    with pytest.raises(OnnxImportError, match="opset_version=18"):
        onnx_files.load(path)


def test_old_graph_is_read(tmp_path: Path) -> None:
    """Before IR version 4, constants were inputs too."""
    constants = [constant("k", [2.0])]
    model = mean_of_channels(
        [helper.make_node("Mul", ["x", "k"], ["y"])],
        constants=constants,
        last="y",
        opset=7,
        ir_version=3,
    )
    model.graph.input.append(value("k", [1]))
    np.testing.assert_allclose(scores(save(model, tmp_path / "g.onnx")), 2 * MEANS, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x08\x07", "no operators"),
        (b"not a graph", "not a valid ONNX file; copy or download it again"),
        (b"\n<!DOCTYPE html><html>", "is a web page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    ],
)
def test_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(content)
    with pytest.raises(PackageError, match=message):
        onnx_files.load(path)
    with pytest.raises(PackageError, match="file not found"):
        onnx_files.load(tmp_path / "missing.onnx")


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8])
def test_integer_input_takes_pixels(tmp_path: Path, kind: int) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    path = save(mean_of_channels([node], kind=kind, last="y"), tmp_path / "g.onnx")
    pixels = np.full((2, 3, SIDE, SIDE), 200, dtype=np.float32)
    np.testing.assert_allclose(scores(path, pixels), 200)


def test_float16_graph_with_float32_input_and_output(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["half", "k"], ["scaled"]),
        helper.make_node("GlobalAveragePool", ["scaled"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["scores"], to=TensorProto.FLOAT),
    ]
    model = make_model(
        nodes,
        [value("x", ["n", 3, SIDE, SIDE])],
        [value("scores", ["n", 3])],
        [constant("k", [2.0], np.float16)],
    )
    np.testing.assert_allclose(scores(save(model, tmp_path / "g.onnx")), 2 * MEANS, atol=1e-3)


def test_graph_without_batch_dimension_is_refused() -> None:
    with pytest.raises(OnnxImportError, match="after the batch dimension"):
        describe_graph(mean_of_channels(shape=[SIDE, SIDE, 3, 1, 1]))
