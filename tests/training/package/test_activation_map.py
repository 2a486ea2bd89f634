"""Class activation maps are added to the graphs that allow them, and only to those."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats
from tests.inference.cam_network import NODE, WEIGHTS, gemm, make_network, matmul_add
from training.package.activation_map import add_activation_map

RNG = np.random.default_rng(0)
INPUTS: Floats = RNG.random((5, 3, 12, 16), dtype=np.float32)
REDUCE_MEAN = [NODE("ReduceMean", ["features", "axes"], ["flat"], keepdims=0)]
RESHAPED_MEAN = [
    NODE("ReduceMean", ["features"], ["pooled"], axes=[2, 3]),
    NODE("Squeeze", ["pooled"], ["squeezed"], axes=[2, 3]),
    NODE("Dropout", ["squeezed"], ["flat"]),
]


def run(model: ModelProto, folder: Path) -> OnnxRuntime:
    onnx.save(model, folder / "model.onnx")
    return OnnxRuntime(folder / "model.onnx", threads=1)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(make_network(), id="gemm"),
        pytest.param(make_network(linear=gemm(trans_b=0)), id="transposed"),
        pytest.param(make_network(linear=matmul_add()), id="matmul_add"),
        pytest.param(make_network(REDUCE_MEAN), id="reduce_mean"),
        pytest.param(make_network(RESHAPED_MEAN, opset=12), id="old_opset"),
        pytest.param(
            make_network(
                linear=[*gemm(), NODE("Softmax", ["scores"], ["shares"], axis=1)], output="shares"
            ),
            id="softmax",
        ),
    ],
)
def test_map_sums_to_the_score_of_the_predicted_label(tmp_path: Path, model: ModelProto) -> None:
    before = run(model, tmp_path)(INPUTS)
    assert add_activation_map(model)
    runtime = run(model, tmp_path)
    found = runtime.activation_maps(INPUTS)
    assert found is not None
    outputs, maps = found
    np.testing.assert_array_equal(outputs, before)
    np.testing.assert_array_equal(runtime(INPUTS), before)
    assert maps.shape == (5, 3, 4)
    scores = INPUTS.mean(axis=(2, 3)) @ WEIGHTS.T
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), scores.max(axis=1), rtol=1e-4)


def test_network_without_linear_layer_has_the_map_of_the_label(tmp_path: Path) -> None:
    model = make_network(linear=[NODE("Identity", ["flat"], ["scores"])])
    assert add_activation_map(model)
    found = run(model, tmp_path).activation_maps(INPUTS)
    assert found is not None
    blocks = INPUTS.reshape(5, 3, 3, 4, 4, 4).mean(axis=(3, 5))
    np.testing.assert_allclose(found[1], blocks[range(5), found[0].argmax(axis=1)], rtol=1e-5)


def test_batch_size_may_be_fixed(tmp_path: Path) -> None:
    model = make_network()
    add_activation_map(model)
    expected = run(model, tmp_path).activation_maps(INPUTS)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    found = run(model, tmp_path).activation_maps(INPUTS)
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(make_network(opset=11, linear=gemm()), id="no_einsum"),
        pytest.param(
            make_network([NODE("ReduceMean", ["features", "axis_h"], ["rows"]),
                          NODE("Flatten", ["rows"], ["flat"])]),
            id="pooled_over_rows_only",
        ),
        pytest.param(
            make_network(linear=[NODE("Gemm", ["flat", "w"], ["hidden"], transB=1),
                                 NODE("Relu", ["hidden"], ["active"]),
                                 NODE("Gemm", ["active", "w"], ["scores"], transB=1)]),
            id="two_linear_layers",
        ),
    ],
)  # fmt: skip
def test_other_graphs_stay_unchanged(model: ModelProto) -> None:
    before = model.SerializeToString()
    assert not add_activation_map(model)
    assert model.SerializeToString() == before
